"""From a protocol to signals: what water and fat emit, frame by frame, over the protocol's grid or voxel by voxel.

Three models differ in what becomes of the transverse magnetisation before the next pulse. ``spoiled`` takes it to be
gone: use it to compare with published MRF T1-FF maps, it is the sequence authors' model. ``epg`` follows it through
gradient and RF spoiling: use it for maps whose accuracy counts, it costs seconds and reads the RF phase of the
protocol. ``bloch`` follows single spins, needs no theory of echoes and is slower: use it to check the other two.

Conventions owned by this module: off-resonance turns a signal by ``exp(+2 pi i df TE)``; a fat peak's shift adds to df,
so that under ideal spoiling fat as a whole is multiplied by ``sum_k a_k exp(+2 pi i shift_k TE)``. A frame is the mean
of its spokes. The fingerprint of a voxel is ``(1 - FF) water + FF fat``.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch

from mrfpipe.arrays import Complex, Double, check_shape
from mrfpipe.physics.bloch import bloch_signals
from mrfpipe.physics.epg import epg_signals
from mrfpipe.physics.slice_profile import layers_of
from mrfpipe.physics.spoiled import spoiled_signals
from mrfpipe.physics.train import WHOLE, Parts
from mrfpipe.progress import Steps
from mrfpipe.protocol import Protocol, Sequence, check_t1

AT_ONCE = 4096
"""Signals or voxels that are simulated between two reports of progress."""

Spoiling = Literal["spoiled", "epg", "bloch"]
MODELS: tuple[Spoiling, ...] = get_args(Spoiling)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalModel:
    """How signals are simulated."""

    spoiling: Spoiling = "spoiled"
    """What becomes of the transverse magnetisation: see the module."""
    slice_profile: bool = False
    """Whether the flip angle varies across the slice, as the protocol's excitation makes it."""

    def __str__(self) -> str:
        return f"{self.spoiling} with slice profile" if self.slice_profile else self.spoiling


SPOILED = SignalModel()
"""Ideal spoiling, the flip angle the same throughout the slice."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ComponentSignals:
    """The water and fat signals that all entries of a grid are made of."""

    water: Complex
    """Shape `(t1w, b1, df, frames)`."""
    fat: Complex
    """Shape `(t1f, b1, df, frames)`."""


def component_signals(
    protocol: Protocol,
    model: SignalModel = SPOILED,
    device: torch.device | None = None,
    progress: Steps | None = None,
) -> ComponentSignals:
    """Simulate all water and fat signals of a protocol's grid.

    Parameters
    ----------
    protocol
        Sequence, tissue and grid.
    model
        How.
    device
        Where to compute; the CPU if not given.
    progress
        Called with the number of signals simulated and of all.

    Returns
    -------
        Frame signals for an equilibrium magnetisation of 1.

    Raises
    ------
    ResourceError
        If the device is a GPU that Numba cannot use.
    """
    sequence, tissue, grid, simulate = protocol.sequence, protocol.tissue, protocol.grid, _simulator(model, device)
    n_done, n_all = 0, (grid.t1w.size + grid.t1f.size) * grid.b1.size * grid.df.size

    def over_grid(t1_axis: Double, t2: float, parts: Parts) -> Complex:
        nonlocal n_done
        t1, b1, df = (axis.ravel() for axis in np.meshgrid(t1_axis, grid.b1, grid.df, indexing="ij"))
        signals = np.empty((t1.size, sequence.n_frames), np.complex64)
        for start in range(0, t1.size, AT_ONCE):
            some = slice(start, start + AT_ONCE)
            signals[some] = simulate(
                sequence, t1=t1[some], t2=np.full_like(t1[some], t2), b1=b1[some], df=df[some], parts=parts
            )
            n_done += t1[some].size
            if progress is not None:
                progress(n_done, n_all)
        return signals.reshape(t1_axis.size, grid.b1.size, grid.df.size, -1)

    return ComponentSignals(
        water=over_grid(grid.t1w, tissue.t2_water, _water(protocol, model)),
        fat=over_grid(grid.t1f, tissue.t2_fat, _fat(protocol, model)),
    )


def fingerprints(
    protocol: Protocol,
    *,
    ff: Double,
    t1w: Double,
    t1f: Double,
    df: Double,
    b1: Double,
    model: SignalModel = SPOILED,
    device: torch.device | None = None,
) -> Complex:
    """Simulate the fingerprint of each voxel.

    Parameters
    ----------
    protocol
        Sequence and tissue; the grid is not used.
    ff, t1w, t1f, df, b1
        One value a voxel, in SI units. Shape `(voxels)` each.
    model
        How.
    device
        Where to compute; the CPU if not given.

    Returns
    -------
        Fingerprints for an equilibrium magnetisation of 1. Shape `(voxels, frames)`.
    """
    values = {"ff": ff, "t1w": t1w, "t1f": t1f, "df": df, "b1": b1}
    result = np.empty((ff.size, protocol.sequence.n_frames), np.complex64)
    for start in range(0, ff.size, AT_ONCE):
        some = slice(start, start + AT_ONCE)
        result[some] = _voxels(protocol, protocol.sequence, model, device, **{k: v[some] for k, v in values.items()})
    return result


def spoke_signals(
    protocol: Protocol, *, ff: Double, t1w: Double, t1f: Double, df: Double, b1: Double
) -> npt.NDArray[np.complex128]:
    """Simulate the ideally spoiled signal of each voxel at every spoke's echo: `fingerprints` before frames are made.

    Returns
    -------
        Shape `(voxels, spokes)`.
    """
    single = replace(protocol.sequence, spokes_per_frame=1)
    signals: npt.NDArray[np.complex128] = _voxels(
        protocol, single, SPOILED, None, ff=ff, t1w=t1w, t1f=t1f, df=df, b1=b1
    )
    return signals


def _voxels(
    protocol: Protocol,
    sequence: Sequence,
    model: SignalModel,
    device: torch.device | None,
    *,
    ff: Double,
    t1w: Double,
    t1f: Double,
    df: Double,
    b1: Double,
) -> npt.NDArray[Any]:
    for name, value in (("ff", ff), ("t1w", t1w), ("t1f", t1f), ("df", df), ("b1", b1)):
        check_shape(name, value, "voxels", {"voxels": ff.size})
    check_t1("t1w", t1w)
    check_t1("t1f", t1f)
    simulate, tissue = _simulator(model, device), protocol.tissue
    water = simulate(
        sequence, t1=t1w, t2=np.full_like(t1w, tissue.t2_water), b1=b1, df=df, parts=_water(protocol, model)
    )
    fat = simulate(sequence, t1=t1f, t2=np.full_like(t1f, tissue.t2_fat), b1=b1, df=df, parts=_fat(protocol, model))
    mixed: npt.NDArray[Any] = (1 - ff)[:, None] * water + ff[:, None] * fat
    return mixed


def _simulator(model: SignalModel, device: torch.device | None) -> Callable[..., npt.NDArray[Any]]:
    """Return the function that simulates signals by this model on this device."""
    if device is not None and device.type == "cuda":
        from mrfpipe.physics.cuda import simulator_on  # Numba looks for a GPU when it is imported

        return simulator_on(device, model.spoiling)
    if model.spoiling == "spoiled":
        return spoiled_signals
    return epg_signals if model.spoiling == "epg" else bloch_signals


def _water(protocol: Protocol, model: SignalModel) -> Parts:
    return layers_of(protocol.sequence.excitation_time_bandwidth) if model.slice_profile else WHOLE


def _fat(protocol: Protocol, model: SignalModel) -> Parts:
    """Every peak of every layer."""
    layers, tissue = _water(protocol, model), protocol.tissue
    n_layers, n_peaks = layers.weights.size, tissue.fat_shifts.size
    return Parts(
        weights=np.outer(layers.weights, tissue.fat_amplitudes).ravel(),
        flip_scales=np.repeat(layers.flip_scales, n_peaks),
        shifts=np.tile(tissue.fat_shifts, n_layers),
    )
