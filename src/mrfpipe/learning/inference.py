"""Inference: the maps of a scan by a trained network, slice by slice, and how well its frames agree with them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from operator import length_hint
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from mrfpipe.arrays import Bool, Complex, Double, Float
from mrfpipe.basis import range_basis
from mrfpipe.dictionary import Dictionary
from mrfpipe.errors import InputError, MismatchError, ResourceError
from mrfpipe.imaging.joint import JointMaps
from mrfpipe.imaging.quality import compare_signals
from mrfpipe.imaging.series import FrameSeries, each_slice
from mrfpipe.interpolation import interpolated
from mrfpipe.learning.encoding import fit_channels
from mrfpipe.learning.model import TrainedModel
from mrfpipe.learning.network import MapNetwork, folded
from mrfpipe.learning.precision import exact_float32
from mrfpipe.learning.scaling import UNSCALED, MapScaling, SignalScaling, check_finite, cut, no_voxel
from mrfpipe.learning.tiles import Tile, cover
from mrfpipe.maps import Fingerprints, ParameterMaps
from mrfpipe.physics.simulate import fingerprints
from mrfpipe.progress import UNTOLD, Steps
from mrfpipe.protocol import Protocol

Precision = Literal["float32", "bfloat16"]
"""What all layers but the last compute in. float32 gives the same maps on every machine but for its rounding (GPUs
are kept from TF32); bfloat16 made the network of preset ``paper`` 1.7 times as fast on a CPU that multiplies in it.
With random weights it then erred by 0.03 % to 0.6 % of a map's range in the mean, RMS, and by 4 % at most."""

TILE_SIZE = 192
"""Most voxels of the maps along either side of a tile: bounds the memory, changes no value. A thigh fits into one."""


def reconstruct(
    series: FrameSeries | Iterable[FrameSeries],
    model: TrainedModel,
    protocol: Protocol,
    *,
    device: torch.device,
    fit: Callable[[FrameSeries], JointMaps] | None = None,
    dictionary: Dictionary | None = None,
    precision: Precision = "float32",
    progress: Steps = UNTOLD,
    tile_size: int = TILE_SIZE,
) -> tuple[ParameterMaps, Fingerprints]:
    """Estimate the maps of a scan, and put the fingerprints simulated at them beside the measured ones.

    Parameters
    ----------
    series
        The scan's frames, or their coefficients if the network was trained on coefficients, of all slices; or of one
        slice after the other, so that the images of all need not be in memory at once. A network without an encoding
        reads frames that are scaled by the mean and deviation of the whole scan: for it slices are gone through twice.
    model
        A network trained for the scan's sequence.
    protocol
        Simulates, by the model's signal model, the fingerprints that `ParameterMaps.match`, `m0` and `phase` compare
        the frames with.
    device
        Where the network runs.
    fit
        Fits the maps of a slice to its samples, for a network that corrects such maps.
    dictionary
        Of the protocol, by the model's signal model: coefficients of fingerprints are interpolated in it, which takes a
        fifth of the time of simulating them. Without one they are simulated.
    precision
        What it computes in; see `Precision`.
    progress
        Called after every slice; of all there are as many as `series` says, by its length if it comes slice by slice.
    tile_size
        Most voxels of the maps along either side of a tile.

    Returns
    -------
        Maps clipped to the ranges the network was trained for. Voxels outside the scan's mask or without any signal are
        NaN and outside the maps' mask. And their fingerprints: coefficients in the scan's own basis if it has one, else
        in one that holds the fingerprints of the protocol's ranges; noise and aliasing beyond it are gone.

    Raises
    ------
    MismatchError
        If scan, model and protocol are not of one sequence, or the model was trained on the other kind of images.
    InputError
        If frames or maps are not finite, or there is no signal inside the mask.
    ResourceError
        If the device lacks the precision.
    ValueError
        If slices that are to be gone through twice come from an iterator, or a network that corrects maps has none.
    """
    n_slices = series.n_slices if isinstance(series, FrameSeries) else length_hint(series)
    if model.encoding is None and isinstance(series, Iterator):
        raise ValueError("A model without encoding goes through the slices twice, which an iterator does not allow.")
    if model.corrects and fit is None:
        raise ValueError("A network that corrects fitted maps needs what fits.")
    stacks = [series] if isinstance(series, FrameSeries) else series
    run = _Run(
        network=_ready(model, device, precision),
        model=model,
        protocol=protocol,
        device=device,
        tile_size=tile_size,
    )
    scaling = UNSCALED if model.encoding is not None else SignalScaling.of(series)
    maps: list[dict[str, npt.NDArray[Any]]] = []
    measured: list[Complex] = []
    simulated: list[Complex] = []
    name, affine, basis = "The scan", np.eye(4), None
    for number, one in enumerate(chain.from_iterable(map(each_slice, stacks)), start=1):
        if number == 1:
            name, affine = one.name, one.affine
        _check_fit(one, model, protocol)
        if basis is None:
            basis = range_basis(protocol, model.signal_model) if one.basis is None else one.basis
        check_finite(one, number)
        mask = one.mask[0] & np.any(one.images[0] != 0, axis=0)
        fitted = None if fit is None or not model.corrects else _fitted(fit(one), model.scaling, mask)
        estimates, deviations = run.estimate(one, scaling, mask, fitted)
        parts, signals = _finish(one, model, protocol, dictionary, estimates, mask)
        if deviations is not None:
            parts["sd"] = np.where(mask, deviations, np.float32(np.nan))
        maps.append(parts)
        for kept, whole in ((measured, one.images[0][:, mask].T), (simulated, signals)):
            kept.append((whole if one.basis is not None else whole @ basis.conj()).astype(np.complex64, copy=False))
        progress(number, max(number, n_slices))
    if basis is None or not any(part["mask"].any() for part in maps):
        raise no_voxel(name)
    return (
        _joined(maps, model, affine),
        Fingerprints(basis=basis, measured=np.concatenate(measured), simulated=np.concatenate(simulated)),
    )


def _joined(slices: list[dict[str, npt.NDArray[Any]]], model: TrainedModel, affine: Double) -> ParameterMaps:
    stacked = {key: np.stack([part[key] for part in slices]) for key in slices[0]}
    parameters = model.scaling.parameters
    si = {p.name: stacked.pop(p.name) for p in parameters}
    deviations = stacked.pop("sd", None)
    sd = None if deviations is None else {p.name: deviations[:, i] for i, p in enumerate(parameters)}
    return ParameterMaps(parameters=parameters, si=si, sd=sd, **stacked, affine=affine)


def _ready(model: TrainedModel, device: torch.device, precision: Precision) -> MapNetwork:
    """Copy a model's network for estimation; its last layer stays in float32."""
    if precision == "bfloat16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise ResourceError(f"{device} does not compute in bfloat16; use precision float32.")
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    network = folded(model.network)
    network.to(device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.output.float()
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = True
    return network


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Run:
    """What all slices of a scan have in common."""

    network: MapNetwork
    model: TrainedModel
    protocol: Protocol
    device: torch.device
    tile_size: int

    def tiles(self, mask: Bool) -> list[Tile]:
        architecture = self.model.architecture
        if architecture.receptive_field > 2 * architecture.margin + 1:
            # What a network pads itself would show at the borders of tiles.
            return [Tile(y=slice(0, mask.shape[0]), x=slice(0, mask.shape[1]))]
        return cover(mask, self.tile_size, architecture.margin)

    def estimate(
        self, one: FrameSeries, scaling: SignalScaling, mask: Bool, fitted: tuple[Float, Float] | None
    ) -> tuple[Float, Float | None]:
        """Estimate the maps of a slice, NaN where no tile is, and their deviations if known. Shape `(maps, y, x)`."""
        maps = np.full((len(self.model.scaling.parameters), *mask.shape), np.nan, np.float32)
        deviations = None if fitted is None else maps.copy()
        if not mask.any():
            return maps, deviations
        encoding, margin = self.model.encoding, self.model.architecture.margin
        frames = (one if encoding is None else encoding.encode(one)).images[0]
        if fitted is not None:
            channels = fit_channels(*map(torch.from_numpy, fitted)).numpy() * mask
        dtype = next(self.network.parameters()).dtype
        for tile in self.tiles(mask):
            at = (
                tile.y.start - margin,
                tile.x.start - margin,
                tile.y.stop - tile.y.start + 2 * margin,
                tile.x.stop - tile.x.start + 2 * margin,
            )
            window = scaling.window(frames, *at)
            if fitted is not None:
                window = np.concatenate([window, cut(channels, *at)])
            with torch.inference_mode(), exact_float32():
                seen = torch.from_numpy(window)[None].to(self.device, dtype, memory_format=torch.channels_last)
                unit = self.network(seen)[0].cpu().numpy()
            if fitted is not None and deviations is not None:
                before, log_sd = (part[:, tile.y, tile.x] for part in fitted)
                correction, log_ratio = np.split(unit, 2)
                unit = before + correction
                deviations[:, tile.y, tile.x] = self.model.scaling.spans(np.exp(log_sd + log_ratio))
            maps[:, tile.y, tile.x] = self.model.scaling.from_unit(unit)
        return maps, deviations


def _fitted(found: JointMaps, scaling: MapScaling, mask: Bool) -> tuple[Float, Float]:
    """Scale the maps of a slice to 0..1; with the logarithms of their deviations. Shape `(maps, y, x)`, 0 outside."""
    maps, log_sd = np.zeros((2, len(scaling.parameters), *mask.shape), np.float32)
    maps[:, mask] = scaling.to_unit(found.parameters.T)
    log_sd[:, mask] = np.log(scaling.to_shares(found.deviations.T))
    return maps, log_sd


def _check_fit(series: FrameSeries, model: TrainedModel, protocol: Protocol) -> None:
    if series.sequence_hash != model.sequence_hash:
        raise MismatchError(
            f"{series.name} was measured with sequence {series.sequence_hash[:12]}, the model was trained for sequence "
            f"{model.sequence_hash[:12]}; use a model for the protocol of the scan."
        )
    if protocol.sequence.hash != model.sequence_hash:
        raise MismatchError(
            f"Protocol {protocol.name} has sequence {protocol.sequence.hash[:12]}, the model was trained for sequence "
            f"{model.sequence_hash[:12]}; use the protocol of the model."
        )
    reads = model.reads
    if series.kind != reads:
        raise MismatchError(
            f"{series.name} holds {series.kind}, the model was trained on {reads}; reconstruct the scan's {reads}, or "
            f"use a model that was trained on {series.kind}."
        )
    n_coefficients = model.architecture.n_inputs // 2 if model.encoding is None else model.encoding.mean.size
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


def _finish(
    one: FrameSeries, model: TrainedModel, protocol: Protocol, dictionary: Dictionary | None, maps: Float, mask: Bool
) -> tuple[dict[str, npt.NDArray[Any]], Complex]:
    """Blank a slice outside its mask, mark the ends of the ranges and compare the frames with the fingerprints.

    Returns the maps, and the fingerprints as frames or coefficients, as the series has them. Shape `(voxels, frames)`.
    """
    if not np.all(np.isfinite(maps[:, mask])):
        raise InputError(f"The model's maps of {one.name} are not finite; train the model again.")
    maps[:, ~mask] = np.nan
    edge = np.zeros(mask.shape, np.uint8)
    for bit, at_end in enumerate(model.scaling.at_ends(maps)):
        edge[at_end] |= 1 << bit
    m0, phase, match = np.full((3, *mask.shape), np.nan, np.float32)
    names = [p.name for p in model.scaling.parameters]
    values = {name: maps[i, mask].astype(np.float64) for i, name in enumerate(names)}
    if dictionary is not None and one.basis is not None:
        at = np.stack([values[name] for name in protocol.grid], axis=1)
        simulated = interpolated(dictionary.in_basis(one.basis), at)[0].astype(np.complex64)
    else:
        simulated = fingerprints(protocol, values, model=model.signal_model)
        simulated = simulated if one.basis is None else simulated @ one.basis.conj()
    signals = one.images[0][:, mask].T.astype(np.complex128)
    m0[mask], phase[mask], match[mask] = compare_signals(signals, simulated.astype(np.complex128))
    estimates = dict(zip(names, maps, strict=True))
    parts = {**estimates, "m0": m0, "phase": phase, "match": match, "edge": edge, "mask": mask}
    return parts, simulated
