"""Sequence: what is measured, as blocks in the order in which the scanner plays them, with readouts and geometry."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from mrfpipe.arrays import Double, frozen
from mrfpipe.protocol.blocks import Block, Delay, Excitations, Inversion, Pulses, Readout, T2Preparation
from mrfpipe.protocol.write import sequence_tables

FORM = "mrfpipe protocol, canonical form 1"
"""Hashed with every protocol; another form of what is hashed gets another number."""


def sha256_of(*tables: str) -> str:
    """Return the sha256 of tables in the canonical form, which leaves defaults out."""
    return hashlib.sha256("\n".join([FORM, *tables]).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, eq=False)
class Sequence:
    """The pulse sequence of one slice.

    Trains that follow each other with nothing between are one, so that it does not matter how a file cuts them.
    """

    blocks: tuple[Block, ...]
    """In order."""
    readout: Readout
    """Of every excitation."""
    matrix: int
    """Voxels along x and along y."""
    fov: float
    """Field of view along x and along y, in m."""
    slice_thickness: float
    """Slice thickness in m."""
    excitation_time_bandwidth: float
    """Time-bandwidth product of the excitation, a Hann-windowed sinc."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocks", _joined(self.blocks))
        if not self.trains:
            raise ValueError("A sequence needs excitations.")
        if self.n_readouts % self.readouts_per_frame:
            raise ValueError(f"{self.readouts_per_frame} readouts a frame do not divide {self.n_readouts} readouts.")

    @property
    def trains(self) -> tuple[Excitations, ...]:
        """The blocks that have readouts."""
        return tuple(block for block in self.blocks if isinstance(block, Excitations))

    def with_blocks(self, kind: type[Block], **changes: float | bool | Double) -> "Sequence":
        """Return the sequence with these changes to every block of a kind, as `dataclasses.replace` makes them."""
        changed: Any = changes  # what a block of this kind has is known when it is made
        blocks = (replace(block, **changed) if isinstance(block, kind) else block for block in self.blocks)
        return replace(self, blocks=tuple(blocks))

    @cached_property
    def flip(self) -> Double:
        """Nominal flip angle of every excitation in rad. Shape `(readouts)`."""
        return frozen(np.concatenate([train.flip for train in self.trains]))

    @cached_property
    def te(self) -> Double:
        """Echo time of every excitation in s. Shape `(readouts)`."""
        return frozen(np.concatenate([train.te for train in self.trains]))

    @cached_property
    def tr(self) -> Double:
        """Repetition time of every excitation in s. Shape `(readouts)`."""
        return frozen(np.concatenate([train.tr for train in self.trains]))

    @property
    def n_readouts(self) -> int:
        """Readouts of the whole sequence."""
        return sum(train.flip.size for train in self.trains)

    @property
    def readouts_per_frame(self) -> int:
        """Consecutive readouts that make one frame."""
        return self.readout.readouts_per_frame

    @property
    def n_frames(self) -> int:
        """Frames of the whole sequence."""
        return self.n_readouts // self.readouts_per_frame

    @property
    def n_samples(self) -> int | None:
        """Samples of a readout; None if the trajectory is the scan's."""
        return None if self.readout.oversampling is None else self.matrix * self.readout.oversampling

    @property
    def inversion_time(self) -> float | None:
        """From the last inversion before the first excitation to that, in s; None if there is none."""
        waited, found = 0.0, None
        for block in self.blocks:
            if isinstance(block, Excitations):
                return None if found is None else waited
            if isinstance(block, Inversion):
                waited, found = 0.0, block
            elif isinstance(block, Delay | T2Preparation):
                waited += block.duration
            elif isinstance(block, Pulses):
                waited += float(block.duration.sum())
        return None

    @cached_property
    def tables(self) -> tuple[str, ...]:
        """All values in the canonical form, written once: it takes long, and every slice is asked for its hash."""
        return tuple(sequence_tables(self))

    @property
    def hash(self) -> str:
        """sha256 over all values: frames and dictionaries of one sequence share it, whatever their grid."""
        return sha256_of(*self.tables)

    @property
    def duration(self) -> float:
        """Of all blocks, in s."""
        waits = sum(block.duration for block in self.blocks if isinstance(block, Delay | T2Preparation))
        pulses = sum(float(block.duration.sum()) for block in self.blocks if isinstance(block, Pulses))
        return waits + pulses + float(self.tr.sum())


def _joined(blocks: tuple[Block, ...]) -> tuple[Block, ...]:
    """Join trains that go on as the one before."""
    joined: list[Block] = []
    for block in blocks:
        last = joined[-1] if joined else None
        if isinstance(block, Excitations) and isinstance(last, Excitations) and block.continues(last):
            joined[-1] = replace(
                last,
                flip=np.concatenate([last.flip, block.flip]),
                te=np.concatenate([last.te, block.te]),
                tr=np.concatenate([last.tr, block.tr]),
                phase=np.concatenate([last.phase, block.phase]),
            )
        else:
            joined.append(block)
    return tuple(joined)
