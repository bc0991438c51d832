"""Twix files of T1-FF as its sequence writes them: counters that number no spoke, headers that nobody filled in.

The values are those of the sequence's own tool: TR - TE 1.11 ms, and 5.0 s of recovery.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from helpers import small_protocol, with_maps
from ismrmrd_files import FOV_MM, MATRIX
from twix_files import (
    PLACES,
    TABLE_MM,
    flagged,
    header_bytes,
    noise_block,
    place,
    sync_block,
    write_file,
    write_vb_blocks,
)
from twixtools.mdb import Mdb_local

from mrfpipe.acquisition.scan import RawScan
from mrfpipe.phantom.anatomy import ANATOMIES
from mrfpipe.phantom.scanner import scan
from mrfpipe.protocol import Delay, Excitations, History, Protocol

N_SLICES, N_COILS = 3, 2
N_SEGMENTS = 48
ECHO_SPACING_MS, TI_MS, SHORTEST_TE_MS, RECOVERY_S = 3.5, 8.32, 2.39, 5.0
PLATEAUS = ((16, 5.0, 2.39), (8, 10.0, 2.39), (8, 5.0, 3.45), (8, 15.0, 3.45), (8, 5.0, 4.63))
"""How many spokes have which flip angle in degrees and TE in ms: the train of T1-FF, but shorter."""
FLIP_DEG, TE_MS = (np.repeat([p[i] for p in PLATEAUS], [p[0] for p in PLATEAUS]) for i in (1, 2))
TR_MS = TE_MS + ECHO_SPACING_MS - SHORTEST_TE_MS
TOTAL_US = round(1e6 * RECOVERY_S + 1e3 * (TI_MS + TR_MS.sum()))


class Spoke(NamedTuple):
    """Where a spoke belongs."""

    s: int
    i: int


Counters = Callable[[Spoke], dict[str, int]]
HEADER: Mapping[str, object] = {
    "tProtocolName": '"MRF_T1FF"',
    "tSequenceFileName": '"%CustomerSeq%\\raFin_dev"',
    "alTE[0]": round(1e3 * SHORTEST_TE_MS),
    "alTE[1]": None,
    "alTR[0]": TOTAL_US,
    "alTI[0]": None,
    "adFlipAngleDegree[0]": 5.0,
    "sSliceArray.lSize": N_SLICES,
    "sWipMemBlock.alFree[3]": 8,
    "sWipMemBlock.alFree[4]": N_SEGMENTS,
    "sWipMemBlock.adFree[0]": ECHO_SPACING_MS,
    "sWipMemBlock.adFree[1]": TI_MS,
}
THIRD = {"sWipMemBlock.alFree[3]": N_SEGMENTS, "sWipMemBlock.alFree[4]": 8}
BY_COUNTER, IN_BLOCKS = "order of the file, slices by their counter", "order of the file, one slice after the other"


def nothing(at: Spoke) -> dict[str, int]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A way in which the sequence may write its files."""

    counters: Counters = lambda at: {"Sli": at.s}
    way: str = BY_COUNTER
    """How the reader is to say that it read the file; empty if it has nothing to say."""
    interleaved: bool = False
    """Whether the slices' spokes come in turn."""
    header: Mapping[str, object] = field(default_factory=dict)
    trusted: bool = False
    """Whether the header is wrong."""
    others: bool = False
    """Whether there are blocks for other purposes between the spokes, and an earlier measurement."""
    vb: bool = False


def named(name: str, **more: object) -> dict[str, object]:
    return {"tProtocolName": f'"{name}"', **more}


VARIANTS: Mapping[str, Variant] = {
    "slices alone are counted": Variant(),
    "nothing is counted": Variant(counters=nothing, way=IN_BLOCKS),
    "lines are the centre": Variant(counters=lambda at: {"Sli": at.s, "Lin": MATRIX // 2}),
    "lines are those of a frame": Variant(counters=lambda at: {"Sli": at.s, "Lin": at.i % 8}),
    "lines run on": Variant(counters=lambda at: {"Sli": at.s, "Lin": at.s * N_SEGMENTS + at.i}),
    "lines run on, slices do not": Variant(counters=lambda at: {"Lin": at.s * N_SEGMENTS + at.i}, way=IN_BLOCKS),
    "lines begin again, slices do not": Variant(counters=lambda at: {"Lin": at.i}, way=IN_BLOCKS),
    "lines begin at 1": Variant(counters=lambda at: {"Sli": at.s, "Lin": at.i + 1}),
    "repetitions are frames": Variant(counters=lambda at: {"Sli": at.s, "Rep": at.i // 8}),
    "averages are spokes": Variant(counters=lambda at: {"Sli": at.s, "Ave": at.i}),
    "sets and segments are spokes": Variant(counters=lambda at: {"Sli": at.s, "Set": at.i % 8, "Seg": at.i // 8}),
    "spokes of slices in turn": Variant(interleaved=True),
    "lines run on, spokes of slices in turn": Variant(
        counters=lambda at: {"Sli": at.s, "Lin": N_SLICES * at.i + at.s}, interleaved=True
    ),
    "counters name the spokes": Variant(counters=lambda at: {"Sli": at.s, "Lin": at.i}, way=""),
    "T1_mapping": Variant(header=named("T1_mapping", **THIRD)),
    "raFin": Variant(header=named("raFin_1400Seg_1400Interleaved_v2", **THIRD)),
    "MRF2D of syngo VB": Variant(header=named("thigh_MRF2D", **THIRD), vb=True),
    "customIR_Reco, called Cartesian": Variant(
        header=named("customIR_Reco", **THIRD, **{"sKSpace.ucTrajectory": "0x1"}), trusted=True
    ),
    "T1MAP, header of another sequence": Variant(
        counters=nothing,
        way=IN_BLOCKS,
        header=named("T1MAP_leg", **THIRD, **{"sKSpace.ucTrajectory": 1, "sSliceArray.asSlice[0].dThickness": 5}),
        trusted=True,
    ),
    "blocks for other purposes": Variant(counters=nothing, way=IN_BLOCKS, others=True),
}


def t1ff_protocol() -> Protocol:
    """What the files are scans of."""
    base = small_protocol(matrix=MATRIX, fov_mm=FOV_MM)
    inversion, _, train, _ = base.sequence.blocks
    played = Excitations(
        flip=np.deg2rad(FLIP_DEG),
        te=TE_MS * 1e-3,
        tr=TR_MS * 1e-3,
        phase=np.zeros(N_SEGMENTS),
        rf_spoiling_increment=train.rf_spoiling_increment,
    )
    blocks = (inversion, Delay(duration=TI_MS * 1e-3), played, Delay(duration=RECOVERY_S))
    return replace(
        base,
        sequence=replace(base.sequence, blocks=blocks),
        history=History(kind="multislice", slices=N_SLICES - 1),
    )


def t1ff_scan(protocol: Protocol) -> RawScan:
    """A leg, as a receiver of Siemens' sense has it: its off-resonance and the shifts of fat have the other sign."""
    sequence, (water, fat) = protocol.sequence, protocol.components
    person = ANATOMIES["leg"](matrix=MATRIX, fov=sequence.fov, n_slices=N_SLICES, slice_spacing=0.01, seed=1)
    turned = replace(person, maps=with_maps(person.maps, df=-person.maps.si["df"]))
    other = replace(protocol, components=(water, replace(fat, shifts=-fat.shifts)))
    made = scan(turned, other, n_coils=N_COILS, seed=1)
    return replace(made, vendor="SIEMENS", noise=made.noise[:, :64])


def write_trains(path: Path) -> Path:
    """The train as the sequence's own tool keeps it: a flip angle, what each spoke's is in units of it, and TEs."""
    path.write_text(json.dumps({"FA": 5, "B1": (FLIP_DEG / 5).tolist(), "TE": TE_MS.tolist(), "TI": TI_MS}))
    return path


def write_variant(path: Path, made: RawScan, variant: Variant, table_mm: tuple[object, ...] = TABLE_MM) -> Path:
    """Write a scan whose slices lie in the order of `PLACES`."""
    header = header_bytes({**HEADER, **variant.header}, table_mm)
    pairs = [(s, i) for s in range(N_SLICES) for i in range(made.n_readouts)]
    pairs = sorted(pairs, key=lambda pair: pair[1]) if variant.interleaved else pairs
    blocks = [noise_block(made.noise)]
    for number, (s, i) in enumerate(pairs):
        block = Mdb_local(np.ascontiguousarray(made.kspace[PLACES[s], :, i]))
        place(block.mdh, PLACES[s], 0)
        block.mdh.Counter.Sli = 0
        for counter, value in variant.counters(Spoke(s, i)).items():
            setattr(block.mdh.Counter, counter, value)
        if variant.others and number % 50 == 7:
            other = Mdb_local(np.full((N_COILS, MATRIX), 1j, np.complex64))
            blocks += [sync_block(), flagged(other, "PHASCOR", "RTFEEDBACK")]
        blocks.append(block)
    if variant.vb:
        return write_vb_blocks(path, blocks, header.replace(b"sWipMem", b"sWiPMem"))  # as VB spells it
    earlier = [[noise_block(2 * made.noise)]] if variant.others else []
    return write_file(path, *earlier, blocks, header=header)
