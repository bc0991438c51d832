"""Sort readouts if the counters of a file do not identify them, or if a readout is split into several acquisitions.

Counters are believed if they number every readout once. Otherwise the order in the file decides; it is matched to the
Pulseq sequence of the scan, if that is available.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mrfpipe.acquisition.header import Header
from mrfpipe.acquisition.heads import Acquisition, Heads, RawFile
from mrfpipe.acquisition.pulseq_scan import NOISE, PulseqScan
from mrfpipe.arrays import Bool, Int
from mrfpipe.errors import MismatchError
from mrfpipe.protocol import Sequence

_COUNTERS = ("slice", "repetition", "average", "kspace_encode_step_1", "kspace_encode_step_2")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JoinedFile:
    """A file of readouts, each joined from one or more acquisitions of another file."""

    file: RawFile
    """The other file."""
    pieces: dict[int, Heads] = field(repr=False)
    """Heads of the acquisitions that make up a readout, by the `number` in the head of the readout."""

    @property
    def path(self) -> Path:
        """Path of the file."""
        return self.file.path

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return self.file.size

    @property
    def heads(self) -> Heads:
        """Heads of all acquisitions of the other file."""
        return self.file.heads

    def acquisitions(self, heads: Heads) -> Iterator[Acquisition]:
        """Read readouts and join their pieces; other acquisitions are read unchanged."""
        pieces = [self.pieces.get(int(head["number"]), heads[i : i + 1]) for i, head in enumerate(heads)]
        found = self.file.acquisitions(np.concatenate([heads[:0], *pieces]))
        for head, of_readout in zip(heads, pieces, strict=True):
            parts = [next(found) for _ in of_readout]
            yield Acquisition(
                head=head,
                samples=np.concatenate([part.samples for part in parts], axis=1),
                trajectory=np.concatenate([part.trajectory for part in parts]),
            )


def readouts_in_order(
    file: RawFile, imaging: Heads, sequence: Sequence, header: Header, played: PulseqScan | None
) -> tuple[RawFile, Heads, Heads, str | None]:
    """Identify the readouts among the imaging acquisitions.

    Parameters
    ----------
    file
        The file.
    imaging
        Heads of the imaging acquisitions, in the order in which they were measured.
    sequence
        Sequence that the scan is expected to have.
    header
        Fields of the file's header that are believed: the number of slices and of readouts per slice.
    played
        The Pulseq file of the scan, if it is available.

    Returns
    -------
        The file; the heads of its readouts; the heads of noise measurements found among the acquisitions; and a remark
        on what was decided.
    """
    if imaging.size == 0 or _are_named_once(imaging, sequence.n_readouts):
        return file, imaging, imaging[:0], None
    if played is not None:
        events = _events_of(imaging, played)
        if events is not None:
            is_noise = played.readouts[events] == NOISE
            named = imaging.copy()
            named["slice"], named["repetition"] = played.slices[events], played.repetitions[events]
            named["kspace_encode_step_1"] = played.readouts[events]
            for counter in ("average", "kspace_encode_step_2"):
                named[counter] = 0
            joined, readouts = _joined(file, named[~is_noise])
            return joined, readouts, imaging[is_noise], "readouts are taken in the order of the Pulseq sequence"
    found = _counted(imaging, sequence, header, file.path)
    if found is not None:
        named, way = found
        joined, readouts = _joined(file, named)
        return joined, readouts, imaging[:0], f"readouts are taken in the order of the file{way}"
    if np.unique(imaging["set"]).size > 1 and _each_once(imaging, (*_COUNTERS, "set")):
        joined, readouts = _joined(file, imaging[np.argsort(imaging["set"], kind="stable")])
        return joined, readouts, imaging[:0], None
    return file, imaging, imaging[:0], None


def _are_named_once(imaging: Heads, n_readouts: int) -> bool:
    names = np.unique(imaging["kspace_encode_step_1"])
    return names.size == n_readouts and names[-1] == n_readouts - 1 and _each_once(imaging, _COUNTERS)


def _each_once(imaging: Heads, counters: tuple[str, ...]) -> bool:
    return bool(np.unique(imaging[list(counters)]).size == imaging.size)


def _events_of(imaging: Heads, played: PulseqScan) -> Int | None:
    """Return which ADC event each acquisition belongs to; None if acquisitions and events do not match.

    A scanner may split an event into several acquisitions, and may leave out the events that measure noise.
    """
    for kept in (np.ones(played.n_samples.size, np.bool_), played.readouts != NOISE):
        events = _fitted(imaging["number_of_samples"], played.n_samples, kept)
        if events is not None:
            return events
    return None


def _fitted(n_samples: Int, of_events: Int, kept: Bool) -> Int | None:
    ends, event_ends = np.cumsum(n_samples), np.cumsum(of_events[kept])
    if ends[-1] != event_ends[-1] or not np.isin(event_ends, ends).all():
        return None
    events: Int = np.flatnonzero(kept)[np.searchsorted(event_ends, ends)]
    return events


def _counted(imaging: Heads, sequence: Sequence, header: Header, path: Path) -> tuple[Heads, str] | None:
    """Assign numbers to the readouts by their order if the counters do not, and say how slices were told apart.

    None if the counters may number the readouts, or the number of readouts does not fit; MismatchError if the header
    declares another number.
    """
    n, lines, n_slices = sequence.n_readouts, imaging["kspace_encode_step_1"], header.n_slices or 1
    announced = header.readouts_per_slice
    names = np.unique(lines).size
    if np.ptp(imaging["kspace_encode_step_2"]):
        return None
    if announced not in {None, n, names} and announced * n_slices == imaging.size:
        raise MismatchError(
            f"{path}: its header announces {announced} readouts per slice, its counters do not number them, and the "
            f"protocol has {n}; use the protocol of the scan, written by mrfpipe protocol."
        )
    slices, one = imaging["slice"], np.zeros_like(lines)
    first = imaging[0]
    n_samples = int(first["number_of_samples"] - first["discard_pre"] - first["discard_post"])
    for by_slice, repetition in ((True, imaging["repetition"]), (True, one), (False, one)):
        counted = by_slice and np.ptp(slices) > 0
        group = (slices if counted else one) * (int(repetition.max()) + 1) + repetition
        order, sizes = np.argsort(group, kind="stable"), np.unique(group, return_counts=True)[1]
        blocks = 1 if counted else n_slices
        n_pieces = _pieces(int(sizes[0]), blocks, n_samples, sequence)
        if not n_pieces or np.ptp(sizes):
            continue
        # A damaged counter must not switch to numbering by order: the counters must number nothing, or agree with it.
        rises = np.diff(lines[order].reshape(-1, n * n_pieces), axis=1)
        if names > n // 2 and not (rises.size and rises.min() == rises.max() > 0):
            continue
        index = np.empty_like(lines)
        index[order] = np.arange(lines.size) % sizes[0] // n_pieces
        named = imaging.copy()
        named["average"], named["kspace_encode_step_1"] = 0, index % n
        named["slice"] = slices if counted else index // n % blocks
        named["repetition"] = repetition + index // (n * blocks)
        way = ", slices by their counter" if counted else ", one slice after the other" if blocks > 1 else ""
        way += f", each joined from {n_pieces} acquisitions" if n_pieces > 1 else ""
        played = int(index.max()) // (n * blocks) + 1
        return named, way if played == 1 else f"{way}, as {played} repetitions, the last of which is used"
    return None


def _pieces(n_acquisitions: int, n_slices: int, n_samples: int, sequence: Sequence) -> int:
    """Return how many acquisitions make up a readout, given the number of slices; 0 if that is unknown."""
    n_readouts = sequence.n_readouts * n_slices
    if sequence.n_samples is not None:
        n_pieces = sequence.n_samples // max(n_samples, 1)
        fits = n_pieces > 0 and n_acquisitions % (n_pieces * n_readouts) == 0
        return n_pieces if fits and n_pieces * n_samples == sequence.n_samples else 0
    return 0 if n_acquisitions % n_readouts else n_acquisitions // n_readouts


def _joined(file: RawFile, imaging: Heads) -> tuple[RawFile, Heads]:
    """Join the acquisitions of each readout in their order."""
    names = imaging[list(_COUNTERS)]
    _, first, which, counts = np.unique(names, return_index=True, return_inverse=True, return_counts=True)
    readouts = imaging[np.sort(first)]
    if counts.max(initial=1) == 1:
        return file, readouts
    by_readout = np.split(imaging[np.argsort(which, kind="stable")], np.cumsum(counts)[:-1])
    pieces = {int(of_readout["number"][0]): of_readout for of_readout in by_readout}
    for head in readouts:
        of_readout = pieces[int(head["number"])]
        head["number_of_samples"] = of_readout["number_of_samples"].sum()
        head["discard_pre"], head["discard_post"] = of_readout["discard_pre"][0], of_readout["discard_post"][-1]
        head["center_sample"], head["sample_time_us"] = 0, 0.0  # the receiver pauses between pieces
    return JoinedFile(file=file, pieces=pieces), readouts
