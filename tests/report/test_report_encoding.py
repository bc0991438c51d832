import dataclasses
import gzip
import re
from base64 import b64decode

import numpy as np
import pytest

from mrfpipe.evaluation.picture import maps_panels
from mrfpipe.files.fingerprints import STEPS
from mrfpipe.maps import Fingerprints
from mrfpipe.quantities import parameters_as_text, parameters_from_text
from mrfpipe.report.encoding import LEVELS, pack, quantise
from mrfpipe.report.images import encode_images
from mrfpipe.report.page import encode_fingerprints

UNPACK = ["<u2", "<i2", "<f4", "u1"]


@pytest.mark.parametrize("dtype", UNPACK)
def test_what_is_packed_is_unpacked(dtype, unpack):
    array = np.random.default_rng(0).integers(0, 200, (5, 7)).astype(dtype) - np.array(60).astype(dtype)
    assert np.array_equal(unpack(pack(array), dtype), array.ravel())


def test_packing_takes_big_endian_and_strided_arrays(unpack):
    array = np.arange(12, dtype=">i2").reshape(3, 4).T
    assert np.array_equal(unpack(pack(array), "<i2"), array.ravel())


def test_measured_values_take_no_more_room_than_with_a_search_for_repetitions(unpack):
    """They have none, and what chance makes of them costs more than the bytes themselves."""
    array = np.random.default_rng(0).normal(0, 3, 50_000).round().astype("<i2")
    planes = array.view(np.uint8).reshape(-1, 2).T.tobytes()
    assert len(b64decode(pack(array))) < 0.97 * len(gzip.compress(planes, 4))
    assert np.array_equal(unpack(pack(array), "<i2"), array)


@pytest.mark.parametrize("values", [[-3.0, 0.25, 7.0], [2.0, 2.0], [5.0], []])
def test_a_value_is_within_the_stated_precision(values):
    values = np.array(values, np.float32)
    quantised = quantise(values)
    back = quantised.offset + quantised.scale * quantised.numbers
    # half a step, and what float64 rounds of it
    assert np.all(np.abs(back - values) <= quantised.precision * (1 + 1e-9))
    if np.ptp(values) if values.size else False:
        assert quantised.precision == pytest.approx(np.ptp(values) / LEVELS / 2)


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="finite"):
        quantise(np.array([0.0, np.nan]))


def test_maps_are_in_the_units_of_files_and_in_the_order_of_voxels(maps, truth, unpack):
    images = {image["name"]: image for image in encode_images(maps, truth)}
    assert list(images) == ["FF", "T1H2O", "T1fat", "df", "B1", "match", "M0", "M0phase", "edge"]

    def values(image):
        return image["offset"] + image["scale"] * unpack(image["data"], "<u2")

    # half a step of 16 bits over the range, and float32's own rounding
    assert np.allclose(values(images["T1H2O"]), 1e3 * maps.si["T1H2O"][maps.mask], rtol=1e-6, atol=0.51 * 1000 / LEVELS)
    assert np.allclose(values(images["df"]["truth"]), truth.si["df"][truth.mask], rtol=1e-6, atol=0.51 * 200 / LEVELS)
    assert np.array_equal(np.round(values(images["edge"])), maps.edge[maps.mask])
    assert "truth" not in images["match"]
    low, high = images["df"]["window"]
    assert low == -high


def test_the_gap_is_shown_where_it_was_looked_for(maps, unpack):
    gap = np.where(maps.mask, 0.25 * maps.si["FF"], np.nan).astype(np.float32)
    images = {image["name"]: image for image in encode_images(dataclasses.replace(maps, gap=gap), None)}
    back = images["gap"]["offset"] + images["gap"]["scale"] * unpack(images["gap"]["data"], "<u2")
    assert np.allclose(back, gap[maps.mask], atol=0.25 / LEVELS)
    assert [name for name, image in images.items() if image["cyclic"]] == ["M0phase"]


def test_windows_are_those_of_the_protocol(maps, truth):
    """The same for any two scans, and for a comparison; a fraction in percent."""
    expected = {"FF": (0, 100), "T1H2O": (550, 2000), "T1fat": (225, 400), "df": (-120, 120), "B1": (0.3, 1.0)}
    for shown, reference in ((maps, None), (truth, None), (maps, truth)):
        images = {image["name"]: image for image in encode_images(shown, reference)}
        assert {name: images[name]["window"] for name in expected} == {
            name: pytest.approx(ends) for name, ends in expected.items()
        }


def test_a_range_that_is_not_known_is_that_of_the_values_that_count(maps, truth):
    """Of the truth, where there is one: what a map guesses elsewhere opens no window."""
    old, old_truth = (
        dataclasses.replace(m, parameters=tuple(dataclasses.replace(p, searched=None) for p in m.parameters))
        for m in (maps, truth)
    )
    for reference in (None, old_truth):
        shown = maps if reference is None else truth
        images = {image["name"]: image for image in encode_images(old, reference)}
        for name, counts in (("T1H2O", shown["FF"] <= 0.7), ("T1fat", shown["FF"] > 0.3)):
            ends = np.percentile(1e3 * shown.si[name][shown.mask & counts], [1, 99])
            assert images[name]["window"] == pytest.approx(ends, rel=1e-6)  # float32's rounding


def test_a_range_is_read_from_files_as_it_was_written(maps):
    again = parameters_from_text(parameters_as_text(maps.parameters))
    for p, q in zip(maps.parameters, again, strict=True):
        assert q.searched == pytest.approx(p.searched)
    assert again[1].searched == pytest.approx((0.55, 2.0))  # T1 of water in s


def test_fractions_are_in_percent_and_so_is_their_deviation(maps, unpack):
    sd = {name: np.where(maps.mask, np.float32(0.02), np.float32(np.nan)) for name in maps}
    images = {image["name"]: image for image in encode_images(dataclasses.replace(maps, sd=sd), None)}
    fraction, deviation, t1 = (images[name] for name in ("FF", "FF_sd", "T1H2O_sd"))
    values = fraction["offset"] + fraction["scale"] * unpack(fraction["data"], "<u2")
    np.testing.assert_allclose(values, 100 * maps["FF"][maps.mask], atol=100 / LEVELS)
    assert (fraction["unit"], fraction["factor"], deviation["unit"], deviation["factor"]) == ("%", 100, "%", 100)
    assert (deviation["offset"], t1["offset"]) == (pytest.approx(2), pytest.approx(20))  # % and ms
    assert t1["unit"] == "ms"


@pytest.mark.parametrize("compared", [False, True])
def test_page_and_picture_have_the_same_colours_and_windows(maps, truth, compared):
    reference = truth if compared else None
    images = {image["name"]: image for image in encode_images(maps, reference)}
    assert images["T1H2O"]["colours"] == images["T1fat"]["colours"]
    for s in range(len(maps.mask)):
        for row, panels in maps_panels(maps, reference=reference, slice_index=s).items():
            for panel in panels:
                image = images[panel.title.split(" ")[0]]
                shown = image["difference"] if row.startswith("maps \N{MINUS SIGN}") else image
                assert panel.colours == shown["colours"]
                factor = image["factor"]
                assert [factor * end for end in panel.window] == pytest.approx(shown["window"])


def test_fingerprints_keep_what_was_measured_and_what_it_was_matched_with(maps, fingerprints, unpack):
    encoded = encode_fingerprints(fingerprints, maps.mask)
    rank = encoded["rank"]
    n = int(maps.mask.sum())
    measured = unpack(encoded["measured"], "<i2").reshape(rank, 2, n).astype(float)
    fitted = measured + unpack(encoded["residual"], "<i2").reshape(rank, 2, n)
    for v in range(0, n, 37):
        was = fingerprints.measured[v]
        step = max(np.abs(was.real).max(), np.abs(was.imag).max()) / STEPS
        d = fingerprints.simulated[v]
        scale = np.vdot(d, was) / np.vdot(d, d)  # the complex number that brings d nearest to what was measured
        # half a step for a part; float32's rounding is a thousand times less
        for got, expected in ((measured, was), (fitted, scale * d)):
            assert np.abs(got[:, 0, v] * step - expected.real).max() < 0.51 * step
            assert np.abs(got[:, 1, v] * step - expected.imag).max() < 0.51 * step
    assert np.array_equal(unpack(encoded["basis"], "<f4").view(np.complex64), fingerprints.basis.ravel())


def test_a_matched_signal_is_scaled_by_a_complex_number():
    d = np.array([[1 + 2j, -1j], [0, 0]], np.complex64)
    # 1e-6: a few roundings of float32
    found = Fingerprints(basis=np.eye(2, dtype=np.complex64), measured=((2 - 3j) * d).astype(np.complex64), simulated=d)
    assert np.allclose(found.fitted, found.measured, atol=1e-6 * 10)


def test_fingerprints_that_do_not_fit_are_refused(maps, fingerprints):
    with pytest.raises(ValueError, match="measured has shape"):
        encode_fingerprints(fingerprints, np.ones_like(maps.mask))
    with pytest.raises(ValueError, match="rank"):
        Fingerprints(basis=fingerprints.basis[:, :2], measured=fingerprints.measured, simulated=fingerprints.simulated)
    broken = fingerprints.measured.copy()
    broken[4, 1] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        Fingerprints(basis=fingerprints.basis, measured=broken, simulated=fingerprints.simulated)


def test_five_slices_with_fingerprints_are_small():
    """Five slices of 350 x 350 with rank 12 fit 15 MB: a tenth of them in voxels is held to a tenth of it."""
    rng = np.random.default_rng(3)
    mask = np.ones((1, 134, 133), bool)  # a tenth of 5 * 350 * 350 * 0.29 voxels, the share of a thigh
    falling = np.exp(-0.5 * np.arange(12)).astype(np.float32)
    noise = rng.normal(size=(2, 134 * 133, 12)) + 1j * rng.normal(size=(2, 134 * 133, 12))
    measured = (noise[0] * falling).astype(np.complex64)
    simulated = (measured + 0.01 * noise[1]).astype(np.complex64)
    basis = np.eye(175, 12, dtype=np.complex64)
    encoded = encode_fingerprints(Fingerprints(basis=basis, measured=measured, simulated=simulated), mask)
    n_bytes = sum(len(text) for text in encoded.values() if isinstance(text, str))
    assert n_bytes < 1.5e6 - 9 * 2 * mask.sum() * 4 / 3  # what is left beside nine maps that do not compress at all
    assert re.fullmatch("[A-Za-z0-9+/=]+", encoded["measured"])
