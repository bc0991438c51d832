"""A scan of real anatomy, made by a maker that shares no code with mrfpipe."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mrfpipe.acquisition.ismrmrd import describe_ismrmrd, read_ismrmrd
from mrfpipe.acquisition.ismrmrd_writer import write_ismrmrd
from mrfpipe.acquisition.trajectory import golden_angle_spokes
from mrfpipe.protocol import Sequence, load_protocol

MAKER = Path(__file__).parents[2].parent / "shared" / "real" / "make_raw.py"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not MAKER.exists(), reason="the real anatomy is not beside this checkout"),
]


@pytest.fixture(scope="module")
def sequence() -> Sequence:
    return load_protocol("t1ff").sequence


@pytest.fixture(scope="module", params=[True, False], ids=["trajectory", "no trajectory"])
def raw(request, tmp_path_factory) -> Path:
    pytest.importorskip("finufft")
    path = tmp_path_factory.mktemp("real") / "thigh.h5"
    options = [] if request.param else ["--no-trajectory"]
    subprocess.run([sys.executable, MAKER, path, *options], check=True, capture_output=True)
    return path


def test_scan_is_read(raw, sequence):
    scan = read_ismrmrd(raw, sequence)
    assert scan.kspace.shape == (1, 8, 1400, 700)
    assert scan.noise.shape == (8, 4096)
    assert scan.spokes_per_frame == 8
    np.testing.assert_allclose(scan.trajectory, golden_angle_spokes(sequence), atol=1e-3)
    np.testing.assert_allclose(scan.affine, [[-1, 0, 0, 175], [0, -1, 0, 175], [0, 0, 8, 0], [0, 0, 0, 1]])
    for name in ("flip", "te", "tr"):
        np.testing.assert_allclose(getattr(scan, name), getattr(sequence, name))
    centre = np.abs(scan.kspace[0, :, 1000:, 350]).mean()
    assert centre > 20 * np.abs(scan.kspace[0, :, 1000:, 0]).mean()


def test_scan_is_written_and_read_again(raw, sequence, tmp_path):
    scan = read_ismrmrd(raw, sequence)
    write_ismrmrd(scan, sequence, tmp_path / "again.h5")
    again = read_ismrmrd(tmp_path / "again.h5", sequence)
    for name in ("kspace", "trajectory", "noise", "affine", "flip", "te", "tr"):
        assert np.array_equal(getattr(again, name), getattr(scan, name)), name


def test_scan_is_described(raw):
    described = describe_ismrmrd(raw)
    assert (described["vendor"], described["coils"], described["spokes"]) == ("simulated", 8, 1400)
    assert described["te_ms"] == [2.39, 4.63]
