"""Simulation of a protocol's signals, frame by frame, over its grid or voxel by voxel.

Three models differ in the treatment of the transverse magnetisation. ``spoiled`` assumes ideal spoiling; use it to
compare with published MRF T1-FF maps, whose authors assume the same. ``epg`` simulates gradient and RF spoiling with
extended phase graphs, which takes seconds and uses the RF phase of the protocol; use it for accuracy. ``bloch`` is an
isochromat Bloch simulation, slower and without phase graphs; use it for verification.

Conventions of this module: off-resonance multiplies a signal by ``exp(+2 pi i df TE)``; the shift of a spectral peak
adds to df, so that under ideal spoiling a component is multiplied by ``sum_k a_k exp(+2 pi i shift_k TE)``.
A frame is the mean of its readouts. The fingerprint of a voxel is that of its component, or of two components a and b
``(1 - share) a + share b``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch

from mrfpipe.arrays import Complex, Double, check_shape
from mrfpipe.errors import MismatchError
from mrfpipe.physics.bloch import bloch_signals
from mrfpipe.physics.epg import epg_signals
from mrfpipe.physics.events import Events, events_of
from mrfpipe.physics.slice_profile import layers_of
from mrfpipe.physics.spoiled import spoiled_signals
from mrfpipe.physics.tissue import WHOLE, Parts
from mrfpipe.progress import UNTOLD, Steps
from mrfpipe.protocol import Component, Protocol, Pulses

AT_ONCE = 4096
"""Signals or voxels that are simulated between two reports of progress."""
PRECISE = 1e-13
"""Tolerance of phase graphs in double precision."""

Simulator = Callable[..., npt.NDArray[Any]]
Spoiling = Literal["spoiled", "epg", "bloch"]
MODELS: tuple[Spoiling, ...] = get_args(Spoiling)
TITLES: dict[str, str] = {
    "spoiled": "ideal spoiling",
    "epg": "extended phase graphs",
    "bloch": "isochromat Bloch simulation",
}
"""Names of the models in texts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalModel:
    """How signals are simulated."""

    spoiling: Spoiling = "spoiled"
    """Treatment of the transverse magnetisation, see the module."""
    slice_profile: bool = False
    """Whether the flip angle profile of the excitation across the slice is simulated."""

    @classmethod
    def of(cls, spoiling: str, *, slice_profile: bool) -> "SignalModel":
        """Return the model that a file names; ValueError if there is none of this name."""
        for known in MODELS:
            if spoiling == known:
                return cls(spoiling=known, slice_profile=slice_profile)
        raise ValueError(f"there is no signal model {spoiling!r:.40}")

    def __str__(self) -> str:
        return f"{self.spoiling} with slice profile" if self.slice_profile else self.spoiling


SPOILED = SignalModel()
"""Ideal spoiling, uniform flip angle across the slice."""


def signal_model(protocol: Protocol, spoiling: Spoiling | None = None, *, slice_profile: bool = False) -> SignalModel:
    """Return the signal model of a protocol.

    The default is ideal spoiling if all trains have gradient and RF spoiling, and extended phase graphs otherwise,
    where ideal spoiling would be wrong.

    Raises
    ------
    MismatchError
        If ideal spoiling is asked for and the protocol has preparations played pulse by pulse.
    """
    spoiled = all(train.rf_spoiling_increment != 0 and train.dephasing > 0 for train in protocol.sequence.trains)
    prepares = any(isinstance(block, Pulses) for block in protocol.sequence.blocks)
    if prepares and spoiling == "spoiled":
        raise MismatchError(
            f"Protocol '{protocol.name}' plays preparations pulse by pulse, whose signal between pulses the model "
            "spoiled neglects; use the model epg or bloch."
        )
    default: Spoiling = "spoiled" if spoiled and not prepares else "epg"
    return SignalModel(spoiling=default if spoiling is None else spoiling, slice_profile=slice_profile)


def component_signals(
    protocol: Protocol,
    model: SignalModel | None = None,
    device: torch.device | None = None,
    progress: Steps = UNTOLD,
) -> tuple[Complex, ...]:
    """Simulate the signals of every component over the grid axes on which it depends.

    Parameters
    ----------
    protocol
        Sequence, components and grid.
    model
        How signals are simulated; by default as `signal_model` chooses for the protocol.
    device
        Where to compute; the CPU if not given.
    progress
        Called with the number of signals simulated and the number of all signals.

    Returns
    -------
        Frame signals for an equilibrium magnetisation of 1, of each component. Shape `(*axes, frames)`,
        the axes as `Protocol.axes_of` gives them.

    Raises
    ------
    ResourceError
        If the device is a GPU that Numba cannot use.
    """
    model = model or signal_model(protocol)
    grid, events, simulator = protocol.grid, events_of(protocol.sequence, protocol.history), _simulator(model, device)
    axes = [protocol.axes_of(component) for component in protocol.components]
    shapes = [tuple(grid[name].size for name in names) for names in axes]
    n_done, n_all = 0, sum(int(np.prod(shape)) for shape in shapes)
    found = []
    for component, names, shape in zip(protocol.components, axes, shapes, strict=True):
        mesh = np.meshgrid(*(grid[name] for name in names), indexing="ij")
        values = {name: axis.ravel() for name, axis in zip(names, mesh, strict=True)}
        signals = np.empty((int(np.prod(shape)), protocol.sequence.n_frames), np.complex64)
        for start in range(0, len(signals), AT_ONCE):
            some = slice(start, start + AT_ONCE)
            part = {name: axis[some] for name, axis in values.items()}
            signals[some] = _emitted(protocol, events, component, model, simulator, part, len(signals[some]))
            n_done += len(signals[some])
            progress(n_done, n_all)
        found.append(signals.reshape(*shape, -1))
    return tuple(found)


def fingerprints(
    protocol: Protocol,
    parameters: Mapping[str, Double],
    *,
    model: SignalModel | None = None,
    device: torch.device | None = None,
) -> Complex:
    """Simulate the fingerprint of each voxel.

    Parameters
    ----------
    protocol, model, device
        As for `component_signals`; the grid is not used.
    parameters
        Value of every parameter in each voxel, by name, in SI units. Shape `(voxels)` each.

    Returns
    -------
        Fingerprints for an equilibrium magnetisation of 1. Shape `(voxels, frames)`.

    Raises
    ------
    ValueError
        If a parameter is missing, or a value is so large that it must be in another unit.
    """
    model = model or signal_model(protocol)
    values, events = checked(protocol, parameters), events_of(protocol.sequence, protocol.history)
    n_voxels = next(iter(values.values())).size
    result = np.empty((n_voxels, protocol.sequence.n_frames), np.complex64)
    for start in range(0, n_voxels, AT_ONCE):
        some = slice(start, start + AT_ONCE)
        part = {name: value[some] for name, value in values.items()}
        result[some] = _voxels(protocol, events, model, device, part)
    return result


def readout_signals(
    protocol: Protocol, parameters: Mapping[str, Double], model: SignalModel | None = None
) -> npt.NDArray[np.complex128]:
    """Simulate the signal of each voxel at every readout's echo: `fingerprints` without averaging to frames.

    Returns
    -------
        Shape `(voxels, readouts)`.
    """
    model, events = model or signal_model(protocol), _every_readout(protocol)
    signals: npt.NDArray[np.complex128] = _voxels(protocol, events, model, None, checked(protocol, parameters))
    return signals


def precise_readouts(
    protocol: Protocol, component: Component, parameters: Mapping[str, Double], model: SignalModel | None = None
) -> npt.NDArray[np.complex128]:
    """Simulate the signal of one component at every readout's echo, to about 1e-12 of its norm.

    Parameters may lie outside the limits of their quantities. Shape `(voxels, readouts)`.
    """
    n = next(iter(parameters.values())).size
    model = model or signal_model(protocol)
    simulator = _simulator(model, None)
    if model.spoiling == "epg":
        simulator = partial(simulator, tolerance=PRECISE, dtype=np.float64)
    events = _every_readout(protocol)
    signals: npt.NDArray[np.complex128] = _emitted(protocol, events, component, model, simulator, parameters, n)
    return signals


def _every_readout(protocol: Protocol) -> Events:
    """Compile the sequence with one frame per readout."""
    return events_of(protocol.sequence.with_single_readouts(), protocol.history)


def checked(protocol: Protocol, parameters: Mapping[str, Double]) -> dict[str, Double]:
    """Return the values of a protocol's parameters after checking their names, lengths and upper limits."""
    names = [p.name for p in protocol.parameters]
    for name in parameters:
        if name not in names:
            raise ValueError(f"Protocol '{protocol.name}' has no parameter {name!r}; it has {', '.join(names)}.")
    found: dict[str, Double] = {}
    sizes: dict[str, int] = {}
    for p in protocol.parameters:
        if p.name not in parameters:
            raise ValueError(f"There are no values of {p.name}.")
        values = np.asarray(parameters[p.name], np.float64)
        sizes = check_shape(p.name, values, "voxels", sizes)
        if values.max(initial=p.quantity.least) > p.quantity.most:
            most = f"{values.max():g}, and no {p.quantity.name} is above {p.quantity.most:g} in SI units"
            raise ValueError(f"{p.name} goes to {most}; give T1 and T2 in s, not in ms.")
        found[p.name] = values
    return found


def _voxels(
    protocol: Protocol,
    events: Events,
    model: SignalModel,
    device: torch.device | None,
    values: Mapping[str, Double],
) -> npt.NDArray[Any]:
    n = next(iter(values.values())).size
    simulator = _simulator(model, device)
    emitted = [_emitted(protocol, events, component, model, simulator, values, n) for component in protocol.components]
    if protocol.share is None:
        return emitted[0]
    share = values[protocol.share][:, None]
    mixed: npt.NDArray[Any] = (1 - share) * emitted[0] + share * emitted[1]
    return mixed


def _emitted(
    protocol: Protocol,
    events: Events,
    component: Component,
    model: SignalModel,
    simulator: Simulator,
    values: Mapping[str, Double],
    n: int,
) -> npt.NDArray[Any]:
    """Simulate the n signals of one component at parameters in SI units. Shape `(signals, frames)`."""

    def of(parameter: str | float | None, otherwise: float = 0.0) -> Double:
        if isinstance(parameter, str):
            return values[parameter]
        return np.full(n, otherwise if parameter is None else parameter)

    return simulator(
        events,
        t1=of(component.t1),
        t2=of(component.t2),
        b1=of(protocol.b1, otherwise=1.0),
        df=of(protocol.off_resonance),
        parts=_parts(protocol, component, model),
    )


def _simulator(model: SignalModel, device: torch.device | None) -> Simulator:
    """Return the function that simulates signals by this model on this device."""
    if device is not None and device.type == "cuda":
        from mrfpipe.physics.cuda import simulator_on  # Numba looks for a GPU when it is imported

        return simulator_on(device, model.spoiling)
    if model.spoiling == "spoiled":
        return spoiled_signals
    return epg_signals if model.spoiling == "epg" else bloch_signals


def _parts(protocol: Protocol, component: Component, model: SignalModel) -> Parts:
    """Return the parts of a component: every peak of its spectrum in every layer of the slice."""
    layers = layers_of(protocol.sequence.excitation_time_bandwidth) if model.slice_profile else WHOLE
    n_layers, n_peaks = layers.weights.size, component.shifts.size
    return Parts(
        weights=np.outer(layers.weights, component.amplitudes).ravel(),
        flip_scales=np.repeat(layers.flip_scales, n_peaks),
        shifts=np.tile(component.shifts, n_layers),
    )
