"""Real anatomy, scanned by a maker that shares no code with mrfpipe; and a file of a real scanner."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import twixtools

from mrfpipe.acquisition.ismrmrd import describe_ismrmrd, read_ismrmrd
from mrfpipe.acquisition.ismrmrd_writer import write_ismrmrd
from mrfpipe.acquisition.raw import describe_raw, read_raw
from mrfpipe.acquisition.trajectory import golden_angle_spokes
from mrfpipe.acquisition.twix_file import open_twix
from mrfpipe.errors import InputError
from mrfpipe.protocol import Sequence, load_protocol

MAKER = Path(__file__).parents[2].parent / "shared" / "real" / "make_raw.py"

GRADIENT_ECHO = MAKER.with_name("gre.dat")

pytestmark = pytest.mark.skipif(not MAKER.exists(), reason="the real data are not beside this checkout")


@pytest.fixture(scope="module")
def sequence() -> Sequence:
    return load_protocol("t1ff").sequence


@pytest.fixture(scope="module", params=[True, False], ids=["trajectory", "no trajectory"])
def raw(request, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("real") / "thigh.h5"
    options = [] if request.param else ["--no-trajectory"]
    subprocess.run([sys.executable, MAKER, path, *options], check=True, capture_output=True)
    return path


@pytest.mark.slow
def test_scan_is_read(raw, sequence):
    scan = read_ismrmrd(raw, sequence)
    assert scan.kspace.shape == (1, 8, 1400, 700)
    assert scan.noise.shape == (8, 4096)
    assert scan.readouts_per_frame == 8
    np.testing.assert_allclose(scan.trajectory, golden_angle_spokes(sequence), atol=1e-3)
    np.testing.assert_allclose(scan.affine, [[-1, 0, 0, 175], [0, -1, 0, 175], [0, 0, 8, 0], [0, 0, 0, 1]])
    for name in ("flip", "te", "tr"):
        np.testing.assert_allclose(getattr(scan, name), getattr(sequence, name))
    centre = np.abs(scan.kspace[0, :, 1000:, 350]).mean()
    assert centre > 20 * np.abs(scan.kspace[0, :, 1000:, 0]).mean()


@pytest.mark.slow
def test_scan_is_written_and_read_again(raw, sequence, tmp_path):
    scan = read_ismrmrd(raw, sequence)
    write_ismrmrd(scan, sequence, tmp_path / "again.h5")
    again = read_ismrmrd(tmp_path / "again.h5", sequence)
    for name in ("kspace", "trajectory", "noise", "affine", "flip", "te", "tr"):
        assert np.array_equal(getattr(again, name), getattr(scan, name)), name


@pytest.mark.slow
def test_scan_is_described(raw):
    described = describe_ismrmrd(raw)
    assert (described["vendor"], described["coils"], described["readouts"]) == ("simulated", 8, 1400)
    assert described["te_ms"] == [2.39, 4.63]


def test_gradient_echo_of_a_scanner_is_described():
    described = describe_raw(GRADIENT_ECHO)
    expected = {
        "kind": "raw scan (Siemens Twix)",
        "protocol_name": "gre",
        "coils": 2,
        "readouts": 160,
        "samples": 320,
        "trajectory": "cartesian",
        "matrix": [160, 160],
        "fov_mm": [200.0, 200.0, 4.0],
        "te_ms": [3.0, 3.0],
        "tr_ms": [10.0, 10.0],
        "ti_ms": None,
        "flip_deg": [15.0, 15.0],
    }
    assert expected.items() <= described.items()
    assert described["field_strength_t"] == pytest.approx(2.8936, abs=1e-4)


def test_gradient_echo_of_a_scanner_is_refused(sequence):
    with pytest.raises(InputError, match=r"gre\.dat: not a radial scan, its trajectory is 'cartesian'"):
        read_raw(GRADIENT_ECHO, sequence)


def test_gradient_echo_of_a_scanner_is_read_as_twixtools_reads_it():
    """Samples and counters bit for bit; the slice's normal, which the header has beside the quaternions."""
    (measurement,) = twixtools.read_twix(str(GRADIENT_ECHO), parse_pmu=False, parse_geometry=False, verbose=False)
    normal = measurement["hdr"]["MeasYaps"]["sSliceArray"]["asSlice"][0]["sNormal"]
    with open_twix(GRADIENT_ECHO) as file:
        acquisitions = list(file.acquisitions(file.heads))
    assert len(acquisitions) == len(measurement["mdb"]) == 160
    for got, block in zip(acquisitions, measurement["mdb"], strict=True):
        assert np.array_equal(got.samples, block.data)
        assert (got.head["kspace_encode_step_1"], got.head["slice"]) == (block.cLin, block.cSlc)
        np.testing.assert_allclose(got.head["slice_dir"], [normal["dSag"], normal["dCor"], normal["dTra"]], atol=1e-6)
