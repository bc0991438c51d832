"""Patches: the windows of frames and maps that a network is trained on."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor

from mrfpipe.arrays import Bool, Float
from mrfpipe.errors import InputError, MismatchError
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.learning.scaling import MapScaling, SignalScaling
from mrfpipe.maps import ParameterMaps

BATCHES_AHEAD = 4
"""Number of batches that are cut ahead while the network is busy, each in its own thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Position of a patch of the maps."""

    scan: int
    """Number of the scan."""
    slice: int
    """Number of the slice in the scan."""
    y: int
    """First row; may lie outside the slice."""
    x: int
    """First column; may lie outside the slice."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Patches ready for a network, float32."""

    frames: Tensor
    """Normalised frames with a margin of (R - 1) / 2 voxels all around. Shape `(patches, 2 frames, y, x)`."""
    maps: Tensor
    """Maps scaled to 0..1, zero outside the foreground. Shape `(patches, maps, y, x)`."""
    foreground: Tensor
    """1 where the maps count, 0 elsewhere. Shape `(patches, 1, y, x)`."""

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device, with frames in the memory order in which convolutions are fastest."""
        return Batch(
            frames=self.frames.to(device, memory_format=torch.channels_last),
            maps=self.maps.to(device),
            foreground=self.foreground.to(device),
        )


class TrainingData:
    """Scans with their maps, cut into patches. Foreground is where a scan's mask and its maps' mask agree.

    Parameters
    ----------
    series
        The scans; they may be read lazily, when they are indexed.
    labels
        The maps of each scan.
    map_scaling
        Scales the maps.
    patch_size
        Voxels along y and along x of a patch of the maps.
    receptive_field
        Receptive field of the network, which determines the margin of the frames.
    scale
        Returns the normalisation of a scan's frames.

    Raises
    ------
    MismatchError
        If scans and maps differ in number or in shape.
    InputError
        If there is no scan, or a scan has no foreground or no signal.
    """

    def __init__(
        self,
        series: Sequence[FrameSeries],
        labels: Sequence[ParameterMaps],
        *,
        map_scaling: MapScaling,
        patch_size: int,
        receptive_field: int,
        scale: Callable[[FrameSeries], SignalScaling] = SignalScaling.of,
    ) -> None:
        if len(series) != len(labels):
            raise MismatchError(
                f"{len(series)} scans came with the maps of {len(labels)}; give one set of maps per scan."
            )
        if len(series) == 0:
            raise InputError("There is no scan to train on; give at least one with its maps.")
        self.series, self.labels, self.map_scaling = series, labels, map_scaling
        self.patch_size, self.margin = patch_size, (receptive_field - 1) // 2
        self.signal_scalings: list[SignalScaling] = []
        self.foregrounds: list[Bool] = []
        for scan, maps in zip(series, labels, strict=True):
            if scan.mask.shape != maps.mask.shape:
                raise MismatchError(f"{scan.name} has shape {scan.mask.shape}, its maps {maps.mask.shape}.")
            foreground = scan.mask & maps.mask
            if not foreground.any():
                raise InputError(f"{scan.name} and its maps share no voxel of their masks; are they of one scan?")
            self.signal_scalings.append(scale(scan))
            self.foregrounds.append(foreground)

    def positions(self, random: np.random.Generator | None = None) -> list[Position]:
        """Lay a grid of patches over every slice and keep those with foreground; every foreground voxel is in one.

        With a generator, the grid of every slice is shifted and the patches are shuffled; without, grids start at the
        first voxel and patches are in order.
        """
        positions = []
        for scan, foreground in enumerate(self.foregrounds):
            for number, mask in enumerate(foreground):
                shift_y, shift_x = (0, 0) if random is None else random.integers(self.patch_size, size=2).tolist()
                rows = range(-shift_y, mask.shape[0], self.patch_size)
                columns = range(-shift_x, mask.shape[1], self.patch_size)
                positions += [
                    Position(scan=scan, slice=number, y=y, x=x)
                    for y, x in product(rows, columns)
                    if mask[max(y, 0) : y + self.patch_size, max(x, 0) : x + self.patch_size].any()
                ]
        return positions if random is None else [positions[i] for i in random.permutation(len(positions))]

    def patch(self, position: Position) -> tuple[Float, Float, Float]:
        """Cut a patch: frames, maps and foreground as in a `Batch`, without the first axis."""
        size, margin = self.patch_size, self.margin
        frames = self.signal_scalings[position.scan].window(
            self.series[position.scan].images[position.slice],
            position.y - margin,
            position.x - margin,
            size + 2 * margin,
            size + 2 * margin,
        )
        foreground = np.zeros((1, size, size), np.float32)
        maps = np.zeros((len(self.map_scaling.parameters), size, size), np.float32)
        y0, x0 = max(position.y, 0), max(position.x, 0)
        source = (position.slice, slice(y0, position.y + size), slice(x0, position.x + size))
        mask = self.foregrounds[position.scan][source]
        inside = (
            slice(y0 - position.y, y0 - position.y + mask.shape[0]),
            slice(x0 - position.x, x0 - position.x + mask.shape[1]),
        )
        foreground[0][inside] = mask
        labels = self.labels[position.scan]
        values = np.stack([np.where(mask, labels.si[p.name][source], 0) for p in self.map_scaling.parameters])
        maps[:, *inside] = np.where(mask, self.map_scaling.to_unit(values), 0)
        return frames, maps, foreground

    def batch(self, positions: Sequence[Position]) -> Batch:
        """Cut the patches of one batch."""
        frames, maps, foreground = zip(*map(self.patch, positions), strict=True)
        return Batch(
            frames=torch.from_numpy(np.stack(frames)),
            maps=torch.from_numpy(np.stack(maps)),
            foreground=torch.from_numpy(np.stack(foreground)),
        )

    def batches(self, positions: Sequence[Position], batch_size: int, share: slice = slice(None)) -> Iterator[Batch]:
        """Cut patches in order, at most `batch_size` per batch and a few batches ahead.

        Batches have nearly equal sizes, since batch normalisation would overrate a small last batch. Only `share` of
        each batch is cut.
        """
        n_batches = -(-len(positions) // batch_size)
        ends = iter([len(positions) * (i + 1) // n_batches for i in range(n_batches)])
        start = 0
        with ThreadPoolExecutor(BATCHES_AHEAD) as pool:
            ahead: deque[Future[Batch]] = deque()
            while True:
                while len(ahead) < BATCHES_AHEAD and (end := next(ends, None)) is not None:
                    ahead.append(pool.submit(self.batch, positions[start:end][share]))
                    start = end
                if not ahead:
                    return
                yield ahead.popleft().result()
