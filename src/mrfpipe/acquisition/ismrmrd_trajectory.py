"""Trajectories stored in ISMRMRD files, turned into cycles/FOV.

ISMRMRD defines no unit for them. A file says which it uses in its trajectoryDescription, as a userParameterString
``trajectory_unit``; a file that says nothing must be in cycles/FOV, which is checked and never guessed.
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


def units(sequence: Sequence) -> dict[str, float]:
    """List the units that can be declared, each with what one of it is in cycles/FOV."""
    return {
        CYCLES_PER_FOV: 1.0,
        "1/m": sequence.fov,
        "rad": sequence.matrix / (2 * np.pi),
        "normalized": float(sequence.matrix),
    }


class StoredTrajectory:
    """Collects the trajectory of all slices, which must agree, and checks its extent."""

    def __init__(self, header: Header, sequence: Sequence, n_samples: int, path: Path) -> None:
        known = {name.lower(): scale for name, scale in units(sequence).items()}
        declared = (header.trajectory_unit or CYCLES_PER_FOV).strip()
        if declared.lower() not in known:
            raise InputError(
                f"{path}: trajectory_unit '{declared}' is not known; declare one of {', '.join(units(sequence))}."
            )
        self.declared = header.trajectory_unit is not None
        self.unit, self.scale = declared, np.float32(known[declared.lower()])
        self.sequence, self.path = sequence, path
        self.trajectory: Float = np.zeros((sequence.n_readouts, n_samples, 2), np.float32)
        self.seen = np.zeros(sequence.n_readouts, np.bool_)

    def add(self, acquisition: Acquisition) -> None:
        """Take the trajectory of an acquisition, that of the first slice before those of others.

        Raises
        ------
        InputError
            If it has not 2 dimensions, is not finite, or differs from another slice's.
        """
        s, readout = int(acquisition.head["slice"]), int(acquisition.head["kspace_encode_step_1"])
        where = f"{self.path}: the trajectory of slice {s}, readout {readout}"
        if not np.isfinite(acquisition.trajectory).all():
            raise InputError(f"{where} is not finite; convert the scan again.")
        points = acquisition.trajectory * self.scale
        n_dimensions = points.shape[1]
        if n_dimensions not in {2, 3} or np.any(np.abs(points[:, 2:]) > _AGREEMENT):
            found = "leaves the plane kz = 0" if n_dimensions == 3 else f"has {n_dimensions} dimensions"
            raise InputError(f"{where} {found}; mrfpipe reads (kx, ky) of slices.")
        points = points[:, :2]
        if self.seen[readout] and np.abs(points - self.trajectory[readout]).max() > _AGREEMENT:
            raise InputError(f"{where} differs from another slice's; mrfpipe needs the same readouts in all slices.")
        if not self.seen[readout] or s == 0:
            self.trajectory[readout] = points
        self.seen[readout] = True

    def result(self) -> Float:
        """Return the trajectory in cycles/FOV, shape `(readouts, samples, 2)`, its extent checked.

        Raises
        ------
        InputError
            If it reaches beyond the grid, or ends so far inside that its unit must be another.
        MismatchError
            If it should be one of spokes and is not.
        """
        edge, oversampling = self.sequence.matrix / 2, self.sequence.readout.oversampling
        if oversampling is None:
            extent = float(np.abs(self.trajectory).max())
            least, most = _LEAST_EXTENT * edge, _MOST_EXTENT * edge
        else:
            extent = float(np.hypot(self.trajectory[..., 0], self.trajectory[..., 1]).max())
            least = _LEAST_EXTENT * edge if self.declared else edge - 1 / oversampling
            most = edge + 0.5 / oversampling
        if not least <= extent <= most:
            raise InputError(f"{self.path}: {self._complaint(extent, edge, too_far=extent > most)}")
        if oversampling is not None:
            self._check_spokes()
        return self.trajectory

    def _check_spokes(self) -> None:
        try:
            check_spokes(self.trajectory)
        except ValueError:
            raise MismatchError(
                f"{self.path}: its readouts are no straight, evenly sampled spokes through the centre of k-space, the "
                "protocol's are; use the protocol that the scan was measured with, or one of stored readouts."
            ) from None

    def _complaint(self, extent: float, edge: float, *, too_far: bool) -> str:
        what = "trajectory beyond the grid" if too_far else "trajectory far too small for the grid"
        unit = f"declared as {self.unit}" if self.declared else f"no trajectory_unit declared, so {self.unit}"
        likely = self._likely_unit(extent / float(self.scale))
        looks = f"it looks like {likely}" if likely else "it looks like no unit that mrfpipe knows"
        return (
            f"{what}, |k| reaches {extent:.4g} cycles/FOV instead of {edge:g} ({unit}); {looks}, "
            "declare its unit as the string trajectory_unit in the header's trajectoryDescription."
        )

    def _likely_unit(self, stored: float) -> str | None:
        """Name the unit in which the stored extent would be half the matrix, if there is one."""
        edge = self.sequence.matrix / 2
        for name, scale in units(self.sequence).items():
            if name != self.unit and abs(stored * scale / edge - 1) < 1 - _LEAST_EXTENT:
                return name
        return None
