"""Slopes: the derivatives of a voxel's signal along every parameter, to about nine digits.

Along T1, T2, B1 and off-resonance, they are central differences of fourth order of signals that are simulated in double
precision. The signal is linear in the share of a second component, so that its derivative is the difference of the two
components, also at the ends of the range.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from mrfpipe.arrays import Double
from mrfpipe.physics.simulate import SignalModel, checked, precise_readouts
from mrfpipe.protocol import Component, Excitations, Protocol, Pulses

RELATIVE_STEP = 2e-3
"""Step along T1 and T2, relative to their value."""
OFF_RESONANCE_STEP = 1e-3
"""Step along off-resonance, in Hz; over the longest T2, it adds a phase much smaller than one turn."""
ANGLE_STEP = 0.02
"""Step along B1, in rad: the change of the summed flip angle of all pulses of a sequence. Coherent signals oscillate
with this sum, which is hundreds of rad in a long train."""
OFFSETS = np.array([0.0, -2.0, -1.0, 1.0, 2.0])
"""Positions at which signals are simulated, in steps; the first is the voxel itself."""
WEIGHTS = np.array([0.0, 1.0, -8.0, 8.0, -1.0]) / 12
"""Finite-difference weights of these positions, for a step of 1."""

ComplexDouble = npt.NDArray[np.complex128]


def readout_slopes(
    protocol: Protocol, parameters: Mapping[str, Double], model: SignalModel | None = None
) -> tuple[ComplexDouble, ComplexDouble]:
    """Simulate voxels and differentiate their signals.

    Parameters
    ----------
    protocol, parameters, model
        As for `mrfpipe.physics.simulate.readout_signals`.

    Returns
    -------
        Signals at every readout's echo, shape `(voxels, readouts)`, and their slopes per SI unit along every parameter
        of the protocol, shape `(voxels, parameters, readouts)`.

    Raises
    ------
    ValueError
        If a parameter is missing, or a value is so large that it must be in another unit.
    """
    values = checked(protocol, parameters)
    made = [_component(protocol, component, values, model) for component in protocol.components]
    if protocol.share is None:
        return made[0]
    (first, first_slopes), (second, second_slopes) = made
    share = values[protocol.share][:, None]
    slopes = (1 - share[..., None]) * first_slopes + share[..., None] * second_slopes
    slopes[:, list(values).index(protocol.share)] = second - first
    return (1 - share) * first + share * second, slopes


def _component(
    protocol: Protocol, component: Component, values: Mapping[str, Double], model: SignalModel | None
) -> tuple[ComplexDouble, ComplexDouble]:
    """Differentiate the signal of one component; slopes along parameters that it does not depend on are 0."""
    names = [name for name in values if name in {*component.parameters, protocol.b1, protocol.off_resonance}]
    n_voxels, n_readouts = next(iter(values.values())).size, protocol.sequence.n_readouts
    steps = {name: _step(protocol, name, values[name]) for name in names}
    moved = {name: np.tile(value, (max(len(names), 1), OFFSETS.size, 1)) for name, value in values.items()}
    for number, name in enumerate(names):
        moved[name][number] += OFFSETS[:, None] * steps[name]
    made = precise_readouts(protocol, component, {name: value.ravel() for name, value in moved.items()}, model)
    made = made.reshape(-1, OFFSETS.size, n_voxels, n_readouts)
    slopes = np.zeros((n_voxels, len(values), n_readouts), np.complex128)
    for number, name in enumerate(names):
        along = np.tensordot(WEIGHTS, made[number], 1)
        slopes[:, list(values).index(name)] = along / steps[name][:, None]
    return made[0, 0], slopes


def _step(protocol: Protocol, name: str, values: Double) -> Double:
    """Return the step along a parameter. Shape `(voxels)`."""
    if name == protocol.b1:
        flips = [block.flip.sum() for block in protocol.sequence.blocks if isinstance(block, Excitations | Pulses)]
        return np.full(values.size, ANGLE_STEP / max(np.sum(flips), 1.0))
    return np.full(values.size, OFF_RESONANCE_STEP) if name == protocol.off_resonance else RELATIVE_STEP * values
