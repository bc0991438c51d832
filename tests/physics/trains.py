"""Sequences that the tests of physics play."""

from dataclasses import replace
from typing import Any

import numpy as np

from mrfpipe.protocol import Block, Delay, Excitations, Inversion, Protocol, Sequence, load_protocol

T1FF = load_protocol("t1ff")


def train(flip: np.ndarray, te: np.ndarray | float, tr: np.ndarray | float, **others: Any) -> Excitations:
    """A train; what is one number is the same for all readouts, and the RF phase is zero unless it is given."""
    full = {"te": te, "tr": tr, "phase": others.pop("phase", 0.0)}
    return Excitations(flip=flip, **{name: np.broadcast_to(v, flip.size) for name, v in full.items()}, **others)


def sequence_of(*blocks: Block, readouts_per_frame: int = 1) -> Sequence:
    """Blocks, with readouts and geometry of T1-FF."""
    readout = replace(T1FF.sequence.readout, readouts_per_frame=readouts_per_frame)
    return replace(T1FF.sequence, blocks=blocks, readout=readout)


def inverted(
    *trains: Excitations,
    efficiency: float = 1.0,
    inversion_time: float = 8.32e-3,
    recovery: float = 4.2,
    readouts_per_frame: int = 1,
) -> Sequence:
    """What T1-FF plays, with other trains or times."""
    before = Inversion(efficiency=efficiency), Delay(duration=inversion_time)
    return sequence_of(*before, *trains, Delay(duration=recovery), readouts_per_frame=readouts_per_frame)


def with_train(protocol: Protocol = T1FF, **changes: Any) -> Protocol:
    """The protocol with changes to its one train, such as its flip angles."""
    return with_blocks(protocol, Excitations, **changes)


def with_blocks(protocol: Protocol, kind: type[Block], position: int = 0, **changes: Any) -> Protocol:
    """The protocol with changes to the block of a kind that stands at a position among its like."""
    blocks = list(protocol.sequence.blocks)
    number = [i for i, block in enumerate(blocks) if isinstance(block, kind)][position]
    blocks[number] = replace(blocks[number], **changes)
    return replace(protocol, sequence=replace(protocol.sequence, blocks=tuple(blocks)))


def random_tissue(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    return {
        "t1": rng.uniform(0.2, 3, n),
        "t2": rng.uniform(0.01, 0.3, n),
        "b1": rng.uniform(0.3, 1.2, n),
        "df": rng.uniform(-150, 150, n),
    }


def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Norm of the difference of signals, relative to the second's."""
    return np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)
