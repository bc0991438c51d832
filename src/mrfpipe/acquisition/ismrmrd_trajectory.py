"""Convert trajectories stored in ISMRMRD files to cycles/FOV.

ISMRMRD defines no unit for trajectories. A file can declare its unit in the trajectoryDescription, as the
userParameterString ``trajectory_unit``. If it does not, the first unit is used in which the trajectory matches the
Pulseq file of the scan or, without a Pulseq file, reaches the edge of k-space for the matrix.
"""

from pathlib import Path

import numpy as np

from mrfpipe.acquisition.header import Header
from mrfpipe.acquisition.heads import Acquisition
from mrfpipe.acquisition.trajectory import check_spokes
from mrfpipe.arrays import Float
from mrfpipe.errors import InputError, MismatchError
from mrfpipe.protocol import Sequence

CYCLES_PER_FOV = "cycles/FOV"
"""The unit of mrfpipe, and the default for files that declare none."""

_AGREEMENT = 1e-3  # cycles/FOV between slices: far too little to shift a voxel, far above float32 rounding in any unit
_LEAST_EXTENT = 0.9  # of matrix / 2: a wrong unit gives far less, gradient delays do not
_MOST_EXTENT = 1.1  # of matrix / 2, for stored readouts: real gradients differ a little from the nominal ones
_FROM_PLAYED = 0.02  # of its extent: how much a trajectory, corrected for gradients, may differ from the nominal one
_IN_PLANE = 0.05  # cycles over the slice thickness by which a trajectory may leave its plane


def units(sequence: Sequence) -> dict[str, float]:
    """Return the units that can be declared, with their factors to cycles/FOV."""
    return {
        CYCLES_PER_FOV: 1.0,
        "1/m": sequence.fov,
        "rad/m": sequence.fov / (2 * np.pi),
        "rad": sequence.matrix / (2 * np.pi),
        "normalized": float(sequence.matrix),
    }


class StoredTrajectory:
    """Collects the trajectories of all slices, which must agree, and checks them and their unit."""

    def __init__(
        self, header: Header, sequence: Sequence, n_samples: int, path: Path, played: Float | None = None
    ) -> None:
        known = {name.lower(): scale for name, scale in units(sequence).items()}
        declared = (header.trajectory_unit or CYCLES_PER_FOV).strip()
        if declared.lower() not in known:
            raise InputError(
                f"{path}: trajectory_unit '{declared}' is not known; declare one of {', '.join(units(sequence))}."
            )
        self.declared = None if header.trajectory_unit is None else declared
        self.scale = known[declared.lower()]
        self.sequence, self.path = sequence, path
        self.played = played if played is not None and played.shape[1] == n_samples else None
        self.decided: str | None = None
        """Remark on the unit that was chosen, if the file declares none."""
        self.trajectory: Float = np.zeros((sequence.n_readouts, n_samples, 2), np.float32)
        self.seen = np.zeros(sequence.n_readouts, np.bool_)
        self._planes: list[float] = []
        self._complaints: list[tuple[float, str]] = []

    def add(self, acquisition: Acquisition) -> None:
        """Add the trajectory of an acquisition; the trajectory of the first slice takes precedence.

        Raises
        ------
        InputError
            If it does not have 2 or 3 dimensions, or is not finite.
        """
        s, readout = int(acquisition.head["slice"]), int(acquisition.head["kspace_encode_step_1"])
        where = f"{self.path}: the trajectory of slice {s}, readout {readout}"
        points = acquisition.trajectory
        if not np.isfinite(points).all():
            raise InputError(f"{where} is not finite; convert the scan again.")
        n_dimensions = points.shape[1]
        if n_dimensions not in {2, 3}:
            raise InputError(f"{where} has {n_dimensions} dimensions; mrfpipe reads (kx, ky) of slices.")
        if n_dimensions == 3:
            self._planes += [float(points[:, 2].min()), float(points[:, 2].max())]
            thick = self.sequence.slice_thickness / self.sequence.fov * _AGREEMENT / _IN_PLANE
            off = max(abs(plane - self._planes[0]) for plane in self._planes[-2:])
            self._complaints.append((off * thick, f"{where} leaves the plane of the first; mrfpipe reads slices."))
        points = points[:, :2]
        if self.seen[readout]:
            differs = float(np.abs(points - self.trajectory[readout]).max())
            line = f"{where} differs from another slice's; mrfpipe needs the same readouts in all slices."
            self._complaints.append((differs, line))
        if not self.seen[readout] or s == 0:
            self.trajectory[readout] = points
        self.seen[readout] = True

    def result(self) -> Float:
        """Return the trajectory in cycles/FOV after checking its extent. Shape `(readouts, samples, 2)`.

        Raises
        ------
        InputError
            If slices differ, or the trajectory reaches beyond the grid, or is so small that its unit must be wrong.
        MismatchError
            If it should consist of spokes, or match a Pulseq file, and does not.
        """
        if self.declared is None:
            self._decide()
        for amount, complaint in self._complaints:
            if amount * self.scale > _AGREEMENT:
                raise InputError(complaint)
        stored = self.trajectory
        self.trajectory = stored * np.float32(self.scale)
        if self.played is not None:
            self._check_played(self.played)
        elif not self._fits(stored, self.scale):
            extent = self._extent(stored) * self.scale
            too_far = extent > self._limits()[1]
            raise InputError(f"{self.path}: {self._complaint(extent, too_far=too_far)}")
        if self.sequence.readout.kind == "golden-radial":
            self._check_spokes()
        return self.trajectory

    def _decide(self) -> None:
        """Choose the first unit that fits, as none is declared."""
        for name, scale in units(self.sequence).items():
            if self._fits(self.trajectory, scale):
                self.scale = scale
                if name != CYCLES_PER_FOV:
                    self.decided = f"the trajectory, whose unit is not declared, is taken to be in {name}, which fits"
                return

    def _fits(self, stored: Float, scale: float) -> bool:
        """Whether a trajectory with this scale matches the Pulseq file or, without one, has the right extent."""
        if self.played is not None:
            return self._from_played(stored * np.float32(scale), self.played)[0] <= self._tolerance(self.played)
        least, most = self._limits()
        return least <= self._extent(stored) * scale <= most

    def _extent(self, stored: Float) -> float:
        if self.sequence.readout.oversampling is None:
            return float(np.abs(stored).max())
        return float(np.hypot(stored[..., 0], stored[..., 1]).max())

    def _limits(self) -> tuple[float, float]:
        """Return the smallest and the largest acceptable extent of a trajectory, in cycles/FOV."""
        edge, oversampling = self.sequence.matrix / 2, self.sequence.readout.oversampling
        if oversampling is None:
            return _LEAST_EXTENT * edge, _MOST_EXTENT * edge
        return edge - 1 / oversampling if self.declared is None else _LEAST_EXTENT * edge, edge + 0.5 / oversampling

    def _tolerance(self, played: Float) -> float:
        return _FROM_PLAYED * float(np.abs(played).max())

    def _from_played(self, trajectory: Float, played: Float) -> tuple[float, int]:
        """Return the largest distance from the trajectory of the Pulseq file, and the readout where it occurs."""
        away = np.abs(trajectory - played).max(axis=(1, 2))
        return float(away.max()), int(away.argmax())

    def _check_played(self, played: Float) -> None:
        away, readout = self._from_played(self.trajectory, played)
        if away > self._tolerance(played):
            raise MismatchError(
                f"{self.path}: the trajectory of readout {readout} is up to {away:.3g} cycles/FOV from that of the "
                f"protocol's Pulseq file {self.sequence.readout.pulseq} ({self._in_unit()}); use the protocol that the "
                "scan was measured with, or declare the unit."
            )

    def _in_unit(self) -> str:
        return (
            f"no trajectory_unit declared, so {CYCLES_PER_FOV}"
            if self.declared is None
            else f"declared as {self.declared}"
        )

    def _check_spokes(self) -> None:
        try:
            check_spokes(self.trajectory)
        except ValueError:
            raise MismatchError(
                f"{self.path}: its readouts are not straight, evenly sampled spokes through the centre of k-space, as "
                "the protocol requires; use the protocol of the scan, or one with stored readouts."
            ) from None

    def _complaint(self, extent: float, *, too_far: bool) -> str:
        edge = self.sequence.matrix / 2
        what = "trajectory beyond the grid" if too_far else "trajectory far too small for the grid"
        likely = self._likely_unit(extent / self.scale)
        looks = f"it looks like {likely}" if likely else "it looks like no unit that mrfpipe knows"
        return (
            f"{what}, |k| reaches {extent:.4g} cycles/FOV instead of {edge:g} ({self._in_unit()}); {looks}, "
            "declare its unit as the string trajectory_unit in the header's trajectoryDescription."
        )

    def _likely_unit(self, stored: float) -> str | None:
        """Return the unit in which the stored extent would be half the matrix, if there is one."""
        edge = self.sequence.matrix / 2
        for name, scale in units(self.sequence).items():
            if name != (self.declared or CYCLES_PER_FOV) and abs(stored * scale / edge - 1) < 1 - _LEAST_EXTENT:
                return name
        return None
