"""Regions drawn on the page: named, saved as labels with names, read back, and averaged as `mrfpipe stats` does."""

import base64
import csv
import dataclasses
import gzip
import io
import re
import time

import nibabel
import numpy as np
import pytest
from reader import Page

from mrfpipe.evaluation.region_table import tabulate
from mrfpipe.files.labels import load_regions
from mrfpipe.report.page import render, write_report

NAME = 'vastus "lateralis", left'
TURNED = np.array([[0.6, -0.96, 1.0, 20], [-0.8, -0.72, 0.5, -30], [0.05, 0.1, 7.9, 4], [0, 0, 0, 1]])
OBLIQUE = np.linalg.qr(TURNED[:3, :3])[0] * [1.0, 1.2, -8.0]
"""Turned and mirrored voxels whose axes are at right angles, as an image's rotation needs them."""


@pytest.fixture(scope="module")
def placed(maps):
    """Maps that lie obliquely, with standard deviations."""
    affine = TURNED.copy()
    affine[:3, :3] = OBLIQUE
    sd = {name: (0.04 * np.abs(values) + 0.01).astype(np.float32) for name, values in maps.si.items()}
    return dataclasses.replace(maps, affine=affine, sd=sd)


@pytest.fixture(scope="module")
def page_file(tmp_path_factory, placed, truth, provenance):
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(path, render(placed, provenance, title="leg 1/a", truth=truth))
    return path


@pytest.fixture
def page(browser, page_file):
    browser.get_log("browser")
    yield Page(browser, page_file)
    assert [entry["message"] for entry in browser.get_log("browser")] == []


def draw(page, corners, name):
    from selenium.webdriver.common.keys import Keys

    page.click("input[value=ellipse]")
    page.point(*corners[0], action="press")
    page.point(*corners[1], action="release")
    field = page.one("#name")
    field.clear()
    field.send_keys(name, Keys.ENTER)
    page.settle()


def ellipse(shape, top, left, bottom, right):
    y, x = np.mgrid[: shape[0], : shape[1]]
    height, width = bottom - top + 1, right - left + 1
    return ((y - (top + bottom) / 2) / (height / 2)) ** 2 + ((x - (left + right) / 2) / (width / 2)) ** 2 <= 1


def downloaded(folder, *names):
    for _ in range(200):
        if all((folder / name).exists() for name in names):
            return [folder / name for name in names]
        time.sleep(0.02)
    raise AssertionError(f"{names} are not in {list(folder.iterdir())}")


def test_drawn_regions_are_saved_and_averaged_as_by_the_command(page, placed, tmp_path):
    from selenium.webdriver.common.keys import Keys

    draw(page, [(3, 4), (8, 7)], NAME)
    page.keys(Keys.PAGE_DOWN)
    draw(page, [(7, 10), (11, 12)], "soleus")
    draw(page, [(4, 2), (6, 12)], NAME)  # the same muscle in the next slice
    expected = np.zeros(placed.mask.shape, int)
    expected[2][ellipse(expected.shape[1:], 7, 10, 11, 12)] = 2
    expected[1][ellipse(expected.shape[1:], 3, 4, 8, 7)] = 1
    expected[2][ellipse(expected.shape[1:], 4, 2, 6, 12)] = 1

    where = {"behavior": "allow", "downloadPath": str(tmp_path)}
    page.driver.execute_cdp_cmd("Browser.setDownloadBehavior", where)
    page.click("#save")
    image, table = downloaded(tmp_path, "leg 1-a_dseg.nii.gz", "leg 1-a_dseg.tsv")
    assert page.one("#status").text == f"Saved {image.name} and {table.name}."
    saved = nibabel.load(image)
    assert np.array_equal(np.asarray(saved.dataobj).transpose(2, 1, 0), expected)
    np.testing.assert_allclose(saved.affine, placed.affine, rtol=1e-6, atol=1e-5)  # a header's float32

    labels, names = load_regions(image, placed)
    assert names == {1: NAME, 2: "soleus"}
    rows = {(str(r.slice), r.region, r.map): r for r in tabulate(placed, labels, names, scan="leg").rows}
    copied = page.run("return table()")
    steps = dict(page.run("return panels.map(p => [p.image.name, p.image.precision / p.image.factor])"))
    n_compared = 0
    for line in csv.DictReader(io.StringIO(copied), delimiter="\t"):
        row = rows.get((line["slice"], int(line["region"]), line["map"]))
        if row is None:
            continue
        n_compared += 1
        assert (line["name"], line["unit"]) == (row.name, row.unit)
        assert (int(line["n"]), int(line["n_region"])) == (row.n, row.n_region)
        for column in ("mean", "sd", "median", "p5", "p95", "predicted_sd"):
            step = steps[f"{row.map}_sd" if column == "predicted_sd" else row.map]
            # half a step of the values that the page holds, a mean of which is no further off, and seven digits
            within = 1.5 * step + 1e-6 * abs(getattr(row, column))
            assert float(line[column] or "nan") == pytest.approx(getattr(row, column), abs=within, nan_ok=True), row
    assert n_compared == 2 * 5

    page.one("#open").send_keys(f"{image}\n{table}")
    page.settle()
    assert "there are regions; save and remove them first" in page.one("#status").text
    page.click("#clear")
    page.one("#open").send_keys(f"{image}\n{table}")
    page.run("while (!state.regions.length) await new Promise(r => setTimeout(r, 5))")
    assert page.run("return table()") == copied


def test_a_voxel_of_two_regions_is_saved_as_of_the_later(page):
    page.run("state.regions = [regionOf(3, 'a', [5, 6]), regionOf(4, 'b', [6, 7])]; state.active = 0")
    said = page.run("download = (name, content) => { saved = content; }; await saveRegions(); return saved")
    assert said == "index\tname\n3\ta\n4\tb\n"
    assert page.one("#status").text.endswith("Voxels in two regions, 1, are of the later one.")


def test_images_of_other_programs_are_read_where_they_lie_as_they_are(page, placed):
    labels = np.random.default_rng(0).integers(0, 3, placed.mask.shape)
    values = labels.transpose(2, 1, 0)

    def read(dtype, *, affine=placed.affine, qform=False, order="<", slope=(1, 0), zipped=False, shape=None):
        stored = ((values - slope[1]) / slope[0]).reshape(shape or values.shape).astype(dtype)
        image = nibabel.Nifti1Image(stored, affine, nibabel.Nifti1Header(endianness=order))
        image.set_qform(affine, int(qform))
        image.set_sform(affine, int(not qform))
        image.header.set_slope_inter(*slope)
        data = image.to_bytes()
        data = gzip.compress(data) if zipped else data
        script = "try { return [...await readLabels(decode(a[0]))] } catch (e) { return e.message }"
        return page.run(script, base64.b64encode(data).decode())

    for how in (
        {"dtype": np.uint8, "zipped": True},
        {"dtype": np.int16, "qform": True},
        {"dtype": np.float32, "order": ">"},
        {"dtype": np.int16, "slope": (0.5, -3)},
        {"dtype": np.uint16, "shape": (*values.shape, 1)},
        {"dtype": np.float64, "affine": placed.affine + 1e-3 * np.eye(4, k=3)},  # a viewer's rounding
    ):
        assert np.array_equal(read(**how), labels.ravel()), how
    moved, mirrored = placed.affine.copy(), placed.affine.copy()
    moved[1, 3] += 0.5
    mirrored[:3, :3] *= [-1, 1, 1]
    assert "lies elsewhere, up to 0.500 mm away" in read(np.uint8, affine=moved)
    assert "lies elsewhere" in read(np.uint8, affine=mirrored)
    assert "lies elsewhere" in read(np.uint8, affine=mirrored, qform=True)
    assert re.match(r"the image has 17 . 39 . 1 voxels and the maps 17 . 13 . 3;", read(np.uint8, shape=(17, 39, 1)))
    values = values / 2
    assert "does not hold labels" in read(np.float32)
    values = 0 * values
    assert "holds no region" in read(np.uint8)
    assert page.run("return readLabels(decode('bm8=')).catch(e => e.message)") == "the image is no NIfTI-1 image"
