"""Twix files whose headers say other than the protocol: played from a Pulseq file, or believed less than it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import complex_normal
from ismrmrd_files import N_SPOKES, small_sequence
from pulseq_files import ANGLE_DEG, MATRIX, OVERSAMPLING, write_sequence
from twix_files import header_bytes, place, twix_scan, write_file, write_whole
from twixtools.mdb import Mdb_local

from mrfpipe.acquisition.pulseq import protocol_from_pulseq
from mrfpipe.acquisition.twix import read_twix
from mrfpipe.errors import InputError
from mrfpipe.protocol import Protocol


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "meas.dat"


PLAYED = {
    "tSequenceFileName": '"%CustomerSeq%\\pulseq"',
    "alTE[0]": 10_000,
    "alTR[0]": 100_000,
    "alTE[1]": None,
    "sKSpace.ucTrajectory": "0x1",
    "sKSpace.lBaseResolution": 64,
}
"""What the header says whatever Pulseq file is played."""


@pytest.fixture(scope="module")
def played(tmp_path_factory) -> tuple[Path, Protocol]:
    """A sequence of three repetitions after two readouts of noise, of which one spoke is twisted."""
    seq = write_sequence(tmp_path_factory.mktemp("played") / "played.seq", shots=3, noise=2, twist_deg=3.0)
    return seq, protocol_from_pulseq(seq)


def test_a_scan_of_pulseq_is_read_by_its_sequence(path, played):
    """Its trajectory and order; the header is not believed, and the remarks say so."""
    seq, protocol = played
    n = protocol.sequence.n_readouts
    samples = complex_normal(np.random.default_rng(0), 2 + 3 * n, 2, MATRIX * OVERSAMPLING)
    blocks = [Mdb_local(one) for one in samples]
    for block in blocks:
        place(block.mdh, 0, 0)
    write_file(path, blocks, header=header_bytes({**PLAYED, "sSliceArray.lSize": 1}))
    unknown = replace(protocol.sequence, readout=replace(protocol.sequence.readout, pulseq=None, sha256=None))
    with pytest.raises(InputError, match=r"was played by the Pulseq interpreter.*derive the protocol from its seq"):
        read_twix(path, unknown)
    with pytest.raises(InputError, match=r"stores no trajectory.*put played\.seq beside it"):
        read_twix(path, protocol.sequence)
    (path.parent / seq.name).write_bytes(seq.read_bytes())
    got = read_twix(path, protocol.sequence)
    assert np.array_equal(got.kspace[0], samples[-n:].transpose(1, 0, 2))
    assert np.array_equal(got.noise, np.concatenate(samples[:2], axis=1))
    angle = np.deg2rad(ANGLE_DEG * np.arange(n) + np.where(np.arange(n) == 5, 3.0, 0.0))
    # Six digits of gradients in the file, over 16 cycles/FOV.
    np.testing.assert_allclose(got.trajectory[:, -1], 15.5 * np.stack([np.cos(angle), np.sin(angle)], 1), atol=2e-3)
    said = "the header is ignored, as the Pulseq interpreter does not fill it: trajectory 'cartesian', matrix 64 x 64"
    assert got.remarks[0].startswith(said)
    assert got.remarks[0].endswith("TE 10 ms, TR 100 ms, flip angle 15 deg")
    assert got.remarks[1:] == ("readouts are taken in the order of the Pulseq sequence",)


def test_a_protocol_that_is_trusted(path):
    """Every value that the header has otherwise is noted, and none that it has not."""
    constant = {"te": np.full(N_SPOKES, 2.39e-3), "tr": np.full(N_SPOKES, 5e-3), "flip": np.deg2rad([7.0] * N_SPOKES)}
    sequence = small_sequence(**constant)
    wrong = {
        "sKSpace.ucTrajectory": 1,
        "sKSpace.lBaseResolution": 64,
        "sSliceArray.asSlice[0].dPhaseFOV": 300,
        "sSliceArray.asSlice[0].dThickness": 5,
        "alTE[0]": 2500,
        "alTR[0]": 5000,
        "adFlipAngleDegree[0]": 8,
        "alTI[0]": 9000,
        "sPrepPulses.ucInversion": 2,
    }
    scan = twix_scan()
    got = read_twix(write_whole(path, scan, **wrong), sequence, trusted=True)
    assert np.array_equal(got.kspace, scan.kspace)
    (remark,) = got.remarks
    assert remark == (
        "the protocol is trusted although the header states trajectory 'cartesian', matrix 64 x 64, "
        "field of view 320 x 300 mm, slice thickness 5 mm, flip angle 8 deg, TE 2.5 ms, TI 9 ms"
    )
    assert got.unstated(sequence) == ("flip angles", "TE", "TI")
    assert read_twix(write_whole(path.with_name("b.dat"), scan), small_sequence(), trusted=True).remarks == ()
    one = write_whole(path.with_name("c.dat"), twix_scan(n_slices=1), **{"sSliceArray.asSlice[0].dThickness": 5})
    affine = read_twix(one, small_sequence(), trusted=True).affine
    assert np.linalg.norm(affine[:3, 2]) == pytest.approx(8.0)
