"""Sequences of mrfpipe simulated with torchsim (https://pypi.org/project/torchsim), for comparison.

In torchsim, magnetisation precesses clockwise with positive off-resonance, and the transverse magnetisation is read
along another axis: its signals for RF phases of the opposite sign are the complex conjugates of ours, up to a factor of
i.
"""

from typing import Any

import numpy as np
import torch
from torchsim.model import SPOILED, UNBALANCED, Simulator, SpinPhysics
from torchsim.sequence import Delay, Spoil

from mrfpipe.physics.events import repetitions_before
from mrfpipe.protocol import Delay as Wait
from mrfpipe.protocol import Excitations, History, Inversion, Sequence


class Unbalanced(Simulator):
    """Inversions, delays and trains that dephase by one cycle."""

    model = SpinPhysics(properties={"T1": "t1_ms", "T2": "t2_ms", "B1": "b1", "B0": "b0_hz"}, operators=UNBALANCED)

    def layout(self, *, sequence: Sequence) -> list[Any]:
        """Return the operators of one repetition; angles in rad, times in s."""
        parts: list[Any] = []
        n = 0
        for block in sequence.blocks:
            match block:
                case Inversion():
                    parts += [Spoil(), self.operators.inversion(duration_s=0.0)]
                case Wait():
                    parts.append(Delay(block.duration))
                case Excitations():
                    number = n + np.arange(block.flip.size)
                    phases = -np.mod(block.phase + number * (number + 1) / 2 * block.rf_spoiling_increment, 2 * np.pi)
                    for flip, te, tr, phase in zip(block.flip, block.te, block.tr, phases, strict=True):
                        parts.append(self.operators.excitation(float(flip), float(phase), duration_s=float(te)))
                        parts.append(self.operators.readout(float(phase), duration_s=float(tr - te)))
                    n += block.flip.size
        return parts


class Ideal(Unbalanced):
    """The same sequences with ideal spoiling after every echo."""

    model = SpinPhysics(properties={"T1": "t1_ms", "T2": "t2_ms", "B1": "b1", "B0": "b0_hz"}, operators=SPOILED)


def torchsim_echoes(
    simulator: type[Unbalanced],
    sequence: Sequence,
    history: History,
    *,
    t1: np.ndarray,
    t2: np.ndarray,
    b1: np.ndarray,
    df: np.ndarray,
    states: int,
) -> np.ndarray:
    """Simulate the echo of every readout in our convention. Shape `(signals, readouts)`."""
    before = repetitions_before(sequence) if history.kind == "repeated" else 0
    played = simulator(states=states, repetitions=1 + before)
    values = {"T1": 1e3 * t1, "T2": 1e3 * t2, "B1": b1, "B0": df}
    signal = played.simulate(sequence=sequence, **{k: torch.from_numpy(v) for k, v in values.items()})
    return np.conj(1j * signal.numpy()[..., -sequence.n_readouts :])
