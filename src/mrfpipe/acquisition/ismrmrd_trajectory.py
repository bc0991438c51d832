"""Trajectories stored in ISMRMRD files, turned into cycles/FOV.

ISMRMRD defines no unit for them. A file says which it uses in its trajectoryDescription, as a userParameterString
``trajectory_unit``. Of a file that says nothing the unit is the one in which the trajectory is that of the Pulseq file
that was played or, without that at hand, reaches the edge of k-space that the matrix asks for.
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
"""The unit of mrfpipe and of files that declare none."""

_AGREEMENT = 1e-3  # cycles/FOV between slices: far below what moves a voxel, far above float32 in any unit
_LEAST_EXTENT = 0.9  # of matrix / 2: every wrong unit is far smaller, a scanner's gradient delays are not
_MOST_EXTENT = 1.1  # of matrix / 2, for stored readouts: gradients play a little more or less than was asked for
_FROM_PLAYED = 0.02  # of matrix / 2 by which a trajectory, corrected for gradients, may differ from the one played
_IN_PLANE = 0.05  # cycles over the slice by which a trajectory may leave its plane


def units(sequence: Sequence) -> dict[str, float]:
    """List the units that can be declared, each with what one of it is in cycles/FOV."""
    return {
        CYCLES_PER_FOV: 1.0,
        "1/m": sequence.fov,
        "rad/m": sequence.fov / (2 * np.pi),
        "rad": sequence.matrix / (2 * np.pi),
        "normalized": float(sequence.matrix),
    }


class StoredTrajectory:
    """Collects the trajectory of all slices, which must agree, and checks it and its unit."""

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
        """What was decided of the unit, in words, if the file does not say it."""
        self.trajectory: Float = np.zeros((sequence.n_readouts, n_samples, 2), np.float32)
        self.seen = np.zeros(sequence.n_readouts, np.bool_)
        self._planes: list[float] = []
        self._complaints: list[tuple[float, str]] = []

    def add(self, acquisition: Acquisition) -> None:
        """Take the trajectory of an acquisition, that of the first slice before those of others.

        Raises
        ------
        InputError
            If it has not 2 or 3 dimensions, or is not finite.
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
        """Return the trajectory in cycles/FOV, shape `(readouts, samples, 2)`, its extent checked.

        Raises
        ------
        InputError
            If slices differ, or it reaches beyond the grid, or ends so far inside that its unit must be another.
        MismatchError
            If it should be one of spokes, or of a Pulseq file, and is not.
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
        """Take the first unit that fits, where none is declared."""
        for name, scale in units(self.sequence).items():
            if self._fits(self.trajectory, scale):
                self.scale = scale
                if name != CYCLES_PER_FOV:
                    self.decided = f"the trajectory, whose unit is not declared, is taken to be in {name}, which fits"
                return

    def _fits(self, stored: Float, scale: float) -> bool:
        """Whether a trajectory in a unit is the one that was played, or reaches as far as the matrix asks for."""
        if self.played is not None:
            return self._from_played(stored * np.float32(scale), self.played)[0] <= self._tolerance(self.played)
        least, most = self._limits()
        return least <= self._extent(stored) * scale <= most

    def _extent(self, stored: Float) -> float:
        if self.sequence.readout.oversampling is None:
            return float(np.abs(stored).max())
        return float(np.hypot(stored[..., 0], stored[..., 1]).max())

    def _limits(self) -> tuple[float, float]:
        """Return how far a trajectory reaches at least and at most, in cycles/FOV."""
        edge, oversampling = self.sequence.matrix / 2, self.sequence.readout.oversampling
        if oversampling is None:
            return _LEAST_EXTENT * edge, _MOST_EXTENT * edge
        return edge - 1 / oversampling if self.declared is None else _LEAST_EXTENT * edge, edge + 0.5 / oversampling

    def _tolerance(self, played: Float) -> float:
        return _FROM_PLAYED * float(np.abs(played).max())

    def _from_played(self, trajectory: Float, played: Float) -> tuple[float, int]:
        """Return the largest distance from the trajectory that was played, and the readout that has it."""
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
        """Name the unit in which the stored extent would be half the matrix, if there is one."""
        edge = self.sequence.matrix / 2
        for name, scale in units(self.sequence).items():
            if name != (self.declared or CYCLES_PER_FOV) and abs(stored * scale / edge - 1) < 1 - _LEAST_EXTENT:
                return name
        return None
