"""The trains of mrfpipe played by torchsim (https://pypi.org/project/torchsim), to compare with.

torchsim precesses clockwise with positive off-resonance and reads the transverse magnetisation along another axis:
its signals for RF phases of the opposite sign are ours conjugated, up to a factor of i.
"""

from typing import Any

import numpy as np
import torch
from torchsim.model import SPOILED, UNBALANCED, Simulator, SpinPhysics
from torchsim.sequence import Delay, Spoil

from mrfpipe.protocol import Sequence


class InversionFlash(Simulator):
    """Inversion, a train of gradient echoes and recovery; the transverse magnetisation crushed around the inversion."""

    model = SpinPhysics(properties={"T1": "t1_ms", "T2": "t2_ms", "B1": "b1", "B0": "b0_hz"}, operators=UNBALANCED)

    def layout(self, *, sequence: Sequence) -> list[Any]:
        """Return the operators of one repetition of T1-FF; flip angles in rad, times in s."""
        _, wait, train, recovery = sequence.blocks
        number = np.arange(sequence.n_readouts)
        phases = -np.mod(number * (number + 1) / 2 * train.rf_spoiling_increment, 2 * np.pi)
        parts = [Spoil(), self.operators.inversion(duration_s=wait.duration)]
        for flip, te, tr, phase in zip(sequence.flip, sequence.te, sequence.tr, phases, strict=True):
            parts.append(self.operators.excitation(float(flip), float(phase), duration_s=float(te)))
            parts.append(self.operators.readout(float(phase), duration_s=float(tr - te)))
        return [*parts, Spoil(), Delay(recovery.duration)]


class IdealInversionFlash(InversionFlash):
    """The same, ideally spoiled after every echo."""

    model = SpinPhysics(properties={"T1": "t1_ms", "T2": "t2_ms", "B1": "b1", "B0": "b0_hz"}, operators=SPOILED)


def torchsim_echoes(
    simulator: type[InversionFlash],
    sequence: Sequence,
    *,
    t1: np.ndarray,
    t2: np.ndarray,
    b1: np.ndarray,
    df: np.ndarray,
    states: int,
) -> np.ndarray:
    """Simulate the echo of every readout of the second repetition in our convention. Shape `(signals, readouts)`."""
    played = simulator(states=states, repetitions=2)
    values = {"T1": 1e3 * t1, "T2": 1e3 * t2, "B1": b1, "B0": df}
    signal = played.simulate(sequence=sequence, **{k: torch.from_numpy(v) for k, v in values.items()})
    return np.conj(1j * signal.numpy()[..., -sequence.n_readouts :])
