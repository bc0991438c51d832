"""Inference: the maps of a scan by a trained network, tile by tile, and how well its frames agree with them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch

from mrfpipe.arrays import Bool, Complex, Float
from mrfpipe.errors import InputError, MismatchError
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.learning.model import TrainedModel
from mrfpipe.learning.network import folded
from mrfpipe.learning.scaling import UNSCALED, SignalScaling
from mrfpipe.maps import PARAMETERS, ParameterMaps
from mrfpipe.physics.simulate import fingerprints
from mrfpipe.protocol import Protocol

Progress = Callable[[int, int], None]
"""Called with the number of tiles done and the number of all tiles."""

TILE_SIZE = 64
"""Voxels of the maps along either side of a tile; bounds the memory, changes no value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tile:
    """A part of a slice: its number, and rows and columns of the maps."""

    number: int
    y: slice
    x: slice


def reconstruct(
    series: FrameSeries,
    model: TrainedModel,
    protocol: Protocol,
    *,
    device: torch.device,
    progress: Progress | None = None,
    tile_size: int = TILE_SIZE,
) -> ParameterMaps:
    """Estimate the maps of a scan.

    Parameters
    ----------
    series
        The scan's frames, or their coefficients if the network was trained on coefficients.
    model
        A network trained for the scan's sequence.
    protocol
        Simulates the fingerprints that `ParameterMaps.match`, `m0` and `phase` compare the frames with.
    device
        Where the network runs.
    progress
        Called after every tile.
    tile_size
        Voxels of the maps along either side of a tile.

    Returns
    -------
        Maps clipped to the ranges the network was trained for. Voxels outside the scan's mask or without any signal are
        NaN and outside the maps' mask.

    Raises
    ------
    MismatchError
        If scan, model and protocol are not of one sequence, or the model was trained on the other kind of images.
    InputError
        If frames or maps are not finite, or there is no signal inside the mask.
    """
    _check_fit(series, model, protocol)
    if model.encoding is None:
        seen, scaling = series, SignalScaling.of(series)
    else:
        seen, scaling = model.encoding.encode(series), UNSCALED
    mask = series.mask & np.any(series.images != 0, axis=1)
    network = folded(model.network).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    margin = model.architecture.margin
    if model.architecture.receptive_field > 2 * margin + 1:
        # What a network pads itself would show at the borders of tiles.
        tile_size = max(mask.shape)
    maps = np.full((len(PARAMETERS), *mask.shape), np.nan, np.float32)
    tiles = list(_tiles(mask, tile_size))
    for done, tile in enumerate(tiles, start=1):
        window = scaling.window(
            seen.images[tile.number],
            tile.y.start - margin,
            tile.x.start - margin,
            tile.y.stop - tile.y.start + 2 * margin,
            tile.x.stop - tile.x.start + 2 * margin,
        )
        with torch.inference_mode():
            frames = torch.from_numpy(window)[None].to(device, memory_format=torch.channels_last)
            estimate = network(frames)[0].float().cpu().numpy()
        maps[:, tile.number, tile.y, tile.x] = model.scaling.from_unit(estimate)
        if progress is not None:
            progress(done, len(tiles))
    return _finish(series, model, protocol, maps, mask)


def _check_fit(series: FrameSeries, model: TrainedModel, protocol: Protocol) -> None:
    if series.sequence_hash != model.sequence_hash:
        raise MismatchError(
            f"{series.name} was measured with sequence {series.sequence_hash[:12]}, the model was trained for sequence "
            f"{model.sequence_hash[:12]}; take a model of the scan's protocol."
        )
    if protocol.sequence.hash != model.sequence_hash:
        raise MismatchError(
            f"Protocol {protocol.name} has sequence {protocol.sequence.hash[:12]}, the model was trained for sequence "
            f"{model.sequence_hash[:12]}; take the model's protocol."
        )
    reads = model.record.get("input", "frames")
    if series.kind != reads:
        raise MismatchError(
            f"{series.name} holds {series.kind}, the model was trained on {reads}; reconstruct the scan's {reads}, or "
            f"take a model that was trained on {series.kind}."
        )
    n_coefficients = model.architecture.n_inputs // 2
    if series.basis is not None and series.basis.shape[1] < n_coefficients:
        raise MismatchError(
            f"{series.name} has {series.basis.shape[1]} coefficients, the model reads {n_coefficients}; "
            "reconstruct the scan at that rank."
        )
    n_frames = n_coefficients if model.encoding is None else len(model.encoding.basis)
    if series.n_frames != n_frames:
        raise MismatchError(
            f"{series.name} has {series.n_frames} frames, the model reads {n_frames}; "
            "reconstruct the frames with the scan's protocol."
        )


def _tiles(mask: Bool, size: int) -> Iterator[_Tile]:
    """Cover the mask of every slice; tiles without a voxel of it are left out."""
    n_slices, n_y, n_x = mask.shape
    for number, y, x in product(range(n_slices), range(0, n_y, size), range(0, n_x, size)):
        tile = _Tile(number=number, y=slice(y, min(y + size, n_y)), x=slice(x, min(x + size, n_x)))
        if mask[tile.number, tile.y, tile.x].any():
            yield tile


def _finish(series: FrameSeries, model: TrainedModel, protocol: Protocol, maps: Float, mask: Bool) -> ParameterMaps:
    """Blank what is outside the mask, mark the ends of the ranges and compare the frames with the fingerprints."""
    if not np.all(np.isfinite(maps[:, mask])):
        raise InputError(f"The model's maps of {series.name} are not finite; train the model again.")
    maps[:, ~mask] = np.nan
    edge = np.zeros(mask.shape, np.uint8)
    for bit, at_end in enumerate(model.scaling.at_ends(maps)):
        edge[at_end] |= 1 << bit
    m0, phase, match = np.full((3, *mask.shape), np.nan, np.float32)
    for number, inside in enumerate(mask):
        values = {p.field: maps[i, number, inside].astype(np.float64) for i, p in enumerate(PARAMETERS)}
        simulated = fingerprints(protocol, **values)
        if series.basis is not None:
            simulated = simulated @ series.basis.conj()
        m0[number, inside], phase[number, inside], match[number, inside] = quality(
            series.images[number][:, inside].T, simulated
        )
    estimates = {p.field: maps[i] for i, p in enumerate(PARAMETERS)}
    return ParameterMaps(**estimates, m0=m0, phase=phase, match=match, edge=edge, mask=mask, affine=series.affine)


def quality(signals: Complex, simulated: Complex) -> tuple[Float, Float, Float]:
    """Compare measured signals y with simulated fingerprints d of the same voxels.

    Parameters
    ----------
    signals
        None of them all zero. Shape `(voxels, frames)`.
    simulated
        Fingerprints at the estimated parameters. Shape `(voxels, frames)`.

    Returns
    -------
        m0 ``|<d, y>| / |d|^2``, phase that of ``<d, y>`` in rad, and match ``|<d, y>| / (|d| |y|)``. Shape `(voxels)`
        each.
    """
    d, y = simulated.astype(np.complex128), signals.astype(np.complex128)
    overlap = np.einsum("vf,vf->v", d.conj(), y)
    agreement = np.abs(overlap)
    norm_d, norm_y = np.linalg.norm(d, axis=1), np.linalg.norm(y, axis=1)
    m0: Float = (agreement / norm_d**2).astype(np.float32)
    match: Float = np.minimum(agreement / (norm_d * norm_y), 1).astype(np.float32)
    return m0, np.angle(overlap).astype(np.float32), match
