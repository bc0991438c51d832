"""Fingerprints on disk: what is read is what was written, to a step, and what is damaged is refused."""

import h5py
import numpy as np
import pytest
from helpers import complex_normal

from mrfpipe.errors import InputError
from mrfpipe.files.fingerprints import STEPS, load_fingerprints, rounded, write_fingerprints
from mrfpipe.maps import Fingerprints


@pytest.fixture
def found():
    rng = np.random.default_rng(0)
    scale = np.float32(10) ** rng.integers(-9, 9, (40, 1))  # signals have arbitrary units
    near = complex_normal(rng, 40, 6)
    measured = (near * scale).astype(np.complex64)
    measured[7] = 0
    return Fingerprints(
        basis=np.linalg.qr(complex_normal(rng, 30, 6))[0].astype(np.complex64),
        measured=measured,
        simulated=((2 - 1j) * near + 0.3 * complex_normal(rng, 40, 6)).astype(np.complex64),
    )


def test_what_is_read_is_within_half_a_step_of_what_was_written(found, tmp_path):
    write_fingerprints(found, tmp_path / "f.h5")
    read = load_fingerprints(tmp_path / "f.h5")
    assert np.array_equal(read.basis, found.basis)
    for v, measured in enumerate(found.measured):
        step = max(np.abs(measured.real).max(), np.abs(measured.imag).max()) / STEPS
        d = found.simulated[v]
        fitted = np.vdot(d, measured) / np.vdot(d, d) * d  # the slow twin: the nearest multiple of d
        for got, expected in ((read.measured[v], measured), (read.simulated[v], fitted)):
            # half a step for a part, and float32's rounding of it
            assert np.abs((got - expected).real).max() <= 0.51 * step
            assert np.abs((got - expected).imag).max() <= 0.51 * step


def test_rounding_again_changes_no_measured_step(found, tmp_path):
    write_fingerprints(found, tmp_path / "f.h5")
    again = rounded(load_fingerprints(tmp_path / "f.h5"))
    assert np.array_equal(again.measured, rounded(found).measured)
    # the fit is fitted anew to rounded signals, which moves it by a part of a step
    assert np.abs(again.residual - rounded(found).residual).max() <= 1


def test_a_damaged_file_is_refused_by_name(found, tmp_path):
    write_fingerprints(found, tmp_path / "f.h5")
    with h5py.File(tmp_path / "f.h5", "r+") as file:
        del file["step"]
    with pytest.raises(InputError, match=r"f\.h5: dataset step is missing; match the scan again"):
        load_fingerprints(tmp_path / "f.h5")
    with pytest.raises(InputError, match="does not exist"):
        load_fingerprints(tmp_path / "none.h5")
