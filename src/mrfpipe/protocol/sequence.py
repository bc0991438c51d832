"""Sequence: blocks in the order in which the scanner plays them, with readout and geometry."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from mrfpipe.arrays import Double, frozen
from mrfpipe.protocol.blocks import Block, Delay, Excitations, Inversion, Pulses, Readout, T2Preparation
from mrfpipe.protocol.write import sequence_tables

FORM = "mrfpipe protocol, canonical form 1"
"""Hashed with every protocol; a change of the hashed text needs a new number here."""


def sha256_of(*tables: str) -> str:
    """Return the sha256 of tables in the canonical form, which omits defaults."""
    return hashlib.sha256("\n".join([FORM, *tables]).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, eq=False)
class Sequence:
    """The pulse sequence of one slice.

    Consecutive trains with the same spoiling and dephasing are joined, so that it does not matter how a file splits
    them.
    """

    blocks: tuple[Block, ...]
    """Blocks in the order in which they are played."""
    readout: Readout
    """Readout of every excitation."""
    matrix: int
    """Number of voxels along x and along y."""
    fov: float
    """Field of view along x and along y in m."""
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
        """Return the sequence with these fields changed, as by `dataclasses.replace`, in every block of a kind."""
        changed: Any = changes  # the block checks its fields when it is made
        blocks = (replace(block, **changed) if isinstance(block, kind) else block for block in self.blocks)
        return replace(self, blocks=tuple(blocks))

    def with_single_readouts(self) -> "Sequence":
        """Return the sequence with frames of one readout each."""
        return replace(self, readout=replace(self.readout, readouts_per_frame=1))

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
        """Number of readouts in the whole sequence."""
        return sum(train.flip.size for train in self.trains)

    @property
    def readouts_per_frame(self) -> int:
        """Number of consecutive readouts per frame."""
        return self.readout.readouts_per_frame

    @property
    def n_frames(self) -> int:
        """Number of frames in the whole sequence."""
        return self.n_readouts // self.readouts_per_frame

    @property
    def n_samples(self) -> int | None:
        """Number of samples per readout; None if the trajectory is stored, and not computed from the sequence."""
        return None if self.readout.oversampling is None else self.matrix * self.readout.oversampling

    @property
    def inversion_time(self) -> float | None:
        """Time in s from the last inversion before the first excitation to that excitation; None without inversion."""
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
        """All values in the canonical form; cached, because writing is slow and every slice needs the hash."""
        return tuple(sequence_tables(self))

    @property
    def hash(self) -> str:
        """sha256 of all values, which frames and dictionaries of one sequence share, whatever the grid."""
        return sha256_of(*self.tables)

    @property
    def duration(self) -> float:
        """Duration of all blocks in s."""
        waits = sum(block.duration for block in self.blocks if isinstance(block, Delay | T2Preparation))
        pulses = sum(float(block.duration.sum()) for block in self.blocks if isinstance(block, Pulses))
        return waits + pulses + float(self.tr.sum())


def _joined(blocks: tuple[Block, ...]) -> tuple[Block, ...]:
    """Join trains with the trains that they continue."""
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
