"""Inference: a trained network estimates the maps of a scan slice by slice; frames are compared with simulations."""

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
"""Precision of all layers but the last. float32 gives the same maps on every machine up to rounding (TF32 is switched
off on GPUs). bfloat16 made the network of preset ``paper`` 1.7 times as fast on a CPU with bfloat16 arithmetic. With
random weights its RMS error was 0.03 % to 0.6 % of a map's range, and its largest error 4 %."""

TILE_SIZE = 192
"""Largest side of a tile in voxels of the maps: limits the memory and changes no value. A thigh fits into one tile."""


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
    """Estimate the maps of a scan; return them with the measured fingerprints and those simulated from the maps.

    Parameters
    ----------
    series
        The scan's frames, or its coefficients if the network was trained on coefficients: all slices, or one slice
        after the other, so that not all images need to be in memory at once. A network without an encoding reads
        frames that are normalised by the mean and standard deviation of the whole scan, which needs two passes over the
        slices.
    model
        A network trained for the scan's sequence.
    protocol
        Protocol from which, with the model's signal model, fingerprints are simulated. `ParameterMaps.match`, `m0` and
        `phase` compare the frames with these.
    device
        Device the network runs on.
    fit
        Fits the maps of a slice to its samples; needed by a network that corrects such maps.
    dictionary
        Dictionary of the protocol and the model's signal model. If given, coefficients of fingerprints are interpolated
        in it, which takes a fifth of the time of simulating them; otherwise they are simulated.
    precision
        Precision of the network; see `Precision`.
    progress
        Called after every slice. The number of slices is taken from `series`, or from its length if it is iterated
        slice by slice.
    tile_size
        Largest side of a tile in voxels of the maps.

    Returns
    -------
        Maps clipped to the ranges the network was trained for; voxels outside the scan's mask or without any signal are
        NaN and outside the maps' mask. Fingerprints as coefficients in the scan's own basis if it has one, otherwise in
        a basis that spans the fingerprints of the protocol's ranges and so removes noise and aliasing outside it.

    Raises
    ------
    MismatchError
        If scan, model and protocol belong to different sequences, or the model was trained on the other kind of images.
    InputError
        If frames or maps are not finite, or there is no signal inside the mask.
    ResourceError
        If the device does not support the precision.
    ValueError
        If slices that need two passes come from an iterator, or a network that corrects maps is given no `fit`.
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
    """Settings that all slices of a scan share."""

    network: MapNetwork
    model: TrainedModel
    protocol: Protocol
    device: torch.device
    tile_size: int

    def tiles(self, mask: Bool) -> list[Tile]:
        architecture = self.model.architecture
        if architecture.receptive_field > 2 * architecture.margin + 1:
            # Zero padding inside the network would show at the borders of tiles.
            return [Tile(y=slice(0, mask.shape[0]), x=slice(0, mask.shape[1]))]
        return cover(mask, self.tile_size, architecture.margin)

    def estimate(
        self, one: FrameSeries, scaling: SignalScaling, mask: Bool, fitted: tuple[Float, Float] | None
    ) -> tuple[Float, Float | None]:
        """Estimate the maps of a slice, NaN outside all tiles, and their standard deviations if the network corrects.

        Shape `(maps, y, x)`.
        """
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
    """Return the maps of a slice scaled to 0..1 and the logarithms of their standard deviations, 0 outside the mask.

    Shape `(maps, y, x)` each.
    """
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
    """Set a slice to NaN outside its mask, flag values at the ends of the ranges, and compare frames with fingerprints.

    Returns the maps, and the simulated fingerprints as frames or coefficients, like the series. Shape `(voxels,
    frames)`.
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
