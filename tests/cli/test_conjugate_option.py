"""A scan of the other sense: refused by every command that makes images, and turned by --conjugate."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
from helpers import with_maps

from mrfpipe.acquisition.ismrmrd_writer import write_ismrmrd
from mrfpipe.phantom.anatomy import ANATOMIES
from mrfpipe.phantom.scanner import scan
from mrfpipe.protocol import load_protocol

SNR, COILS = 4000.0, 4
DELAYS = (0.4, -0.3)


@pytest.fixture(scope="module")
def scans(study, tmp_path_factory):
    """One leg as the protocol has it and in the other sense, its anatomy in place and the gradients late in both.

    In the other sense off-resonance and the shifts of fat have the other sign; nothing is conjugated.
    """
    folder = tmp_path_factory.mktemp("sense")
    protocol = load_protocol(str(study / "small.toml"))
    sequence, (water, fat) = protocol.sequence, protocol.components
    person = ANATOMIES["leg"](matrix=64, fov=sequence.fov, n_slices=1, slice_spacing=0.01, seed=1)
    turned = replace(person, maps=with_maps(person.maps, df=-person.maps.si["df"]))
    other = replace(protocol, components=(water, replace(fat, shifts=-fat.shifts)))
    for name, phantom, sense in (("plain", person, protocol), ("other", turned, other)):
        raw = scan(phantom, sense, n_coils=COILS, snr=SNR, seed=1, name=name, delays=DELAYS)
        write_ismrmrd(raw, sequence, folder / f"{name}.h5")
    return folder


@pytest.fixture(scope="module")
def results(run, study, scans):
    """Maps of the plain scan, and of the other one conjugated."""
    line = ("-d", study / "small.h5", "--no-refine", "-o", scans / "out", "--recon", "nufft")
    run("match", scans / "plain.h5", *line)
    run("match", scans / "other.h5", "--conjugate", *line)
    assert "skipped" in run("match", scans / "other.h5", "--conjugate", *line).stderr
    return scans / "out"


def maps_of(folder):
    with h5py.File(folder / "maps.h5") as file:
        maps = {name: file[name][0] for name in ("FF", "T1H2O", "df", "B1", "mask")}
    return maps | {"mask": maps["mask"].astype(bool)}


REFUSED = "the sign of its phase is opposite to the protocol"


def test_scan_of_the_other_sense_is_refused(run, study, scans, tmp_path):
    raw = scans / "other.h5"
    for line in (
        ("match", raw, "-d", study / "small.h5", "-o", tmp_path / "out"),
        ("frames", raw, "-o", tmp_path / "x.frames.h5", "--protocol", study / "small.toml"),
    ):
        stderr = run(*line, code=4).stderr
        assert f"{raw}: {REFUSED}" in stderr
        assert "--conjugate" in stderr
    assert not list(tmp_path.iterdir())


def test_right_scan_is_not_to_be_conjugated(run, study, scans, tmp_path):
    line = ("match", scans / "plain.h5", "-d", study / "small.h5", "-o", tmp_path, "--conjugate")
    assert REFUSED in run(*line, code=4).stderr


def test_conjugate_gives_the_maps_of_the_plain_scan(results):
    plain, turned = maps_of(results / "plain"), maps_of(results / "other")
    both = plain["mask"] & turned["mask"]
    # The anatomy is where it was: the masks differ by aliasing, which the coils' phase changes, at the border only.
    assert both.sum() > 0.95 * max(plain["mask"].sum(), turned["mask"].sum())
    # Aliasing, which the coils' phase changes, makes differences of 0.027, 4.9 Hz and 0.035. Mirrored, or with df of
    # the other sign, they would be above the standard deviations over the leg: 0.28, 17 Hz and 0.055.
    for name, tolerance in (("FF", 0.05), ("df", 9.0), ("B1", 0.05)):
        difference = (plain[name] - turned[name])[both]
        assert np.sqrt(np.mean(difference**2)) < tolerance
        assert abs(difference.mean()) < tolerance / 5
    made = json.loads((results / "other" / "FF.json").read_text())
    assert "conjugated" in made["EstimationAlgorithm"]
    # Delays are of the gradients: in the same sense, and as large.
    found = made["Notes"]["gradient_delays_samples"]
    assert (found["x"], found["y"]) == pytest.approx(DELAYS, abs=0.05)


def test_frames_made_with_it_need_it_no_more(run, study, scans, results, tmp_path):
    frames = tmp_path / "other.frames.h5"
    run("frames", scans / "other.h5", "-o", frames, "--protocol", study / "small.toml", "--conjugate")
    run("match", frames, "-d", study / "small.h5", "--no-refine", "-o", tmp_path)
    stored, direct = maps_of(tmp_path / "other"), maps_of(results / "other")
    np.testing.assert_allclose(stored["FF"], direct["FF"], rtol=1e-5, atol=1e-5)
