"""`mrfpipe stats`: results on disk and a label image to a table, against a loop over the NIfTI files."""

import csv
import dataclasses
import shutil
import subprocess
import zipfile
from itertools import islice
from pathlib import Path
from xml.etree import ElementTree as ET

import nibabel
import numpy as np
import pytest
from helpers import parameter_maps

import mrfpipe
from mrfpipe.files.provenance import Provenance
from mrfpipe.files.results import save_result
from mrfpipe.phantom.truth import PARAMETERS

SHAPE = (2, 9, 7)
AFFINE = np.array([[0, -1.5, 0, 20], [1.5, 0, 0, -30], [0, 0, 8, 4], [0, 0, 0, 1.0]])
MADE = Provenance(
    command=[], inputs={}, protocol_name="p", protocol_hash="h", method="m", device="cpu", started="", duration_s=0
)
OFFICE, TABLE = (f"{{urn:oasis:names:tc:opendocument:xmlns:{name}:1.0}}" for name in ("office", "table"))
"""How the cells of a spreadsheet are named in its XML."""
WRITTEN = 1e-6
"""Relative: seven digits are written, and maps are float32."""


def save_scan(folder, seed, *, affine=AFFINE, bids=False):
    rng, mask = np.random.default_rng(seed), np.ones(SHAPE, bool)
    mask[:, :2, 1:] = False
    ranges = {"FF": (0, 1), "T1H2O": (0.6, 1.6), "T1fat": (0.25, 0.35), "df": (-100, 100), "B1": (0.4, 1.0)}
    ranges |= {"m0": (1, 2), "phase": (-3, 3), "match": (0.8, 1)}
    maps = parameter_maps(mask=mask, affine=affine, **{k: rng.uniform(*v, SHAPE) for k, v in ranges.items()})
    # T1 of water above 1.47 s is too uncertain to count; all else counts.
    squares = {p.name: maps.si[p.name] ** 2 * (0.034 if p.name == "T1H2O" else 0.0004) for p in PARAMETERS}
    sd = {name: values.astype(np.float32) for name, values in squares.items()}
    save_result(folder, dataclasses.replace(maps, sd=sd), MADE, bids=bids, force=False)


def save_labels(path, labels, affine=AFFINE):
    nibabel.save(nibabel.Nifti1Image(labels.transpose(2, 1, 0), affine), path)


@pytest.fixture
def labels():
    """Two lopsided regions, one of them across the border of the mask and in both slices."""
    labels = np.zeros(SHAPE, np.int16)
    labels[0, 1:4, 2:4] = labels[1, 3:8, 1:5] = 4
    labels[1, 8, 4:] = 11
    return labels


@pytest.fixture
def archive(tmp_path, labels, monkeypatch):
    """A folder to work in, with two results of one place and a label image with names."""
    monkeypatch.chdir(tmp_path)
    save_scan(tmp_path / "results/P01", 1)
    save_scan(tmp_path / "results/P02", 2)
    save_labels("muscles.nii.gz", labels)
    (tmp_path / "muscles.tsv").write_text("index\tname\n4\tvastus lateralis\n11\tgracilis\n")
    return tmp_path


def read(path, delimiter=","):
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


def loop(folder, labels):
    """Every row's numbers, from the NIfTI files."""
    images = {p.name: nibabel.load(folder / f"{p.name}.nii.gz").get_fdata() for p in PARAMETERS}
    most = {"T1H2O": 0.05 * images["T1H2O"], "T1fat": 0.05 * images["T1fat"], "df": 5}
    for region in (4, 11):
        for s in (0, 1, "all"):
            drawn = labels.transpose(2, 1, 0) == region
            drawn = drawn if s == "all" else drawn & (np.arange(SHAPE[0]) == s)
            for p in PARAMETERS if drawn.any() else ():
                sds = nibabel.load(folder / f"{p.name}_sd.nii.gz").get_fdata()
                where = drawn & np.isfinite(images[p.name]) & (sds <= most.get(p.name, 0.05))
                v = images[p.name][where]
                yield [
                    *(s if s == "all" else s + 1, region, p.name, v.size, drawn.sum()),
                    *(
                        v.mean(),
                        v.std(ddof=1) if v.size > 1 else np.nan,
                        *np.quantile(v, [0.5, 0.05, 0.95]),
                        sds[where].mean(),
                    ),
                ]


def test_the_table_is_that_of_a_loop_over_the_images(run, archive, labels):
    said = run("stats", "results/P01", "results/P02", "--roi", "muscles.nii.gz", "-o", "rois.csv")
    assert said.stdout == "rois.csv: 50 rows\n"
    lines = read("rois.csv")
    expected = [(scan, *row) for scan in ("P01", "P02") for row in loop(archive / "results" / scan, labels)]
    numbers = ("n", "n_region", "mean", "sd", "median", "p5", "p95", "predicted_sd")
    for line, (scan, s, region, name, *values) in zip(lines, expected, strict=True):
        assert (line["scan"], line["slice"], line["region"], line["map"]) == (scan, str(s), str(region), name)
        assert [float(line[column] or "nan") for column in numbers] == pytest.approx(
            values, rel=WRITTEN, abs=1e-6, nan_ok=True
        ), line
    assert {(line["region"], line["name"]) for line in lines} == {("4", "vastus lateralis"), ("11", "gracilis")}
    assert {line["map"]: line["unit"] for line in lines} == {p.name: p.unit for p in PARAMETERS}
    assert min(int(line["n"]) for line in lines) < max(int(line["n_region"]) for line in lines)


def test_from_python_the_same(run, archive):
    run("stats", "results/P01", "--roi", "muscles.nii.gz", "-o", "by-command.csv")
    mrfpipe.load_maps("results/P01").stats("muscles.nii.gz").to_csv("by-python.csv")
    assert (archive / "by-python.csv").read_text() == (archive / "by-command.csv").read_text()
    run("stats", "results/P01", "--roi", "muscles.nii.gz", "-o", "rois.tsv")
    assert read("rois.tsv", "\t") == read("by-command.csv")


def test_each_result_may_have_regions_of_its_own(run, archive, labels):
    save_scan(archive / "bids/sub-01/ses-a", 3, affine=AFFINE + np.eye(4, k=3), bids=True)
    for name, affine in (("P01", AFFINE), ("sub-01_ses-a", AFFINE + np.eye(4, k=3))):
        save_labels(f"{name}_dseg.nii.gz", labels, affine)
    results = ("results/P01", "bids/sub-01/ses-a")
    run("stats", *results, "--roi", "{name}_dseg.nii.gz", "--names", "muscles.tsv", "-o", "rois.csv")
    found = {(line["subject"], line["session"], line["scan"]) for line in read("rois.csv")}
    assert found == {("", "", "P01"), ("sub-01", "ses-a", "sub-01_ses-a")}
    table = mrfpipe.load_maps("bids/sub-01").stats("sub-01_ses-a_dseg.nii.gz")
    assert {(row.subject, row.session) for row in table.rows} == {("sub-01", "ses-a")}
    refused = run("stats", *results, "--roi", "muscles.nii.gz", "-o", "rois.csv", "--force", code=4)
    assert "sub-01_ses-a: muscles.nii.gz lies elsewhere" in refused.stderr
    assert "and give each result its own, as --roi 'FOLDER/{name}.nii.gz'" in refused.stderr


def test_mistakes_are_told_in_a_line_and_leave_no_table(run, archive, labels):
    save_labels("turned.nii.gz", labels.transpose(0, 2, 1))
    save_labels("moved.nii.gz", labels, AFFINE + np.eye(4, k=3))
    save_labels("float.nii.gz", labels.astype(np.float32) / 2)
    save_labels("empty.nii.gz", 0 * labels)
    (archive / "short.tsv").write_text("index\tname\n4\tsoleus\n")
    for words, code, said in (
        (["turned.nii.gz"], 4, "P01: turned.nii.gz has shape (9, 7, 2) and the maps (7, 9, 2)"),
        (["moved.nii.gz"], 4, "P01: moved.nii.gz lies elsewhere than the maps"),
        (["float.nii.gz"], 3, "does not hold whole numbers"),
        (["empty.nii.gz"], 3, "holds no region"),
        (["{name}.nii.gz"], 3, "P01.nii.gz does not exist"),
        (["muscles.nii.gz", "--names", "short.tsv"], 3, "short.tsv has no name for region 11 of muscles.nii.gz"),
        (["muscles.nii.gz", "--names", "none.tsv"], 3, "none.tsv cannot be read: No such file"),
    ):
        assert said in run("stats", "results/P01", "--roi", *words, "-o", "rois.csv", code=code).stderr
    run("stats", "muscles.nii.gz", "--roi", "muscles.nii.gz", "-o", "rois.csv", code=3)
    run("stats", "results", "--roi", "muscles.nii.gz", "-o", "rois.csv", code=3)
    assert not (archive / "rois.csv").exists()
    (archive / "rois.csv").touch()
    run("stats", "results/P01", "--roi", "muscles.nii.gz", "-o", "rois.csv", code=5)


def test_results_of_one_name_are_told_apart(run, archive):
    save_scan(archive / "again/P01", 3)
    run("stats", "results/P01", "again/P01", "results/P02", "--roi", "muscles.nii.gz", "-o", "rois.csv")
    assert list(dict.fromkeys(row["scan"] for row in read("rois.csv"))) == ["results/P01", "again/P01", "P02"]


@pytest.mark.parametrize("output", ["muscles.tsv", "muscles.csv", "muscles.nii.gz", "results/../muscles.tsv"])
def test_the_table_never_takes_the_place_of_the_regions_or_their_names(run, archive, output):
    before = {path: path.read_bytes() for path in archive.glob("muscles.*")}
    for roi in ("muscles.nii.gz", str(archive / "muscles.nii.gz")):
        result = run("stats", "results/P01", "--roi", roi, "-o", output, "--force", code=2)
        assert f"{output} is for the regions or their names; choose another -o." in result.stderr
    assert {path: path.read_bytes() for path in archive.glob("muscles.*")} == before


@pytest.mark.slow
def test_an_office_program_reads_numbers_as_numbers(run, archive):
    soffice = shutil.which("soffice") or pytest.skip("LibreOffice is not installed")
    run("stats", "results/P01", "--roi", "muscles.nii.gz", "-o", "rois.csv")
    convert = [soffice, "--headless", f"-env:UserInstallation={(archive / 'profile').as_uri()}", "--convert-to", "ods"]
    subprocess.run([*convert, "rois.csv"], check=True, capture_output=True, timeout=120)
    content = ET.fromstring(zipfile.ZipFile("rois.ods").read("content.xml"))  # noqa: S314 - made here
    head, *found = [list(islice(cells(row), 16)) for row in content.iter(f"{TABLE}table-row")][: 1 + 25]
    numbers = {"slice", "region", "unit", "n", "n_region", "mean", "sd", "median", "p5", "p95", "predicted_sd"}
    for line, values in zip(read("rois.csv"), found, strict=True):
        for column, value in zip(head, values, strict=True):
            if column in numbers and line[column] not in ("all", "ms", "Hz"):
                assert value == float(line[column]), column
            else:
                assert (value or "") == line[column]


def cells(row):
    """The values of a row of a spreadsheet, numbers as numbers; equal ones are kept as one that is repeated."""
    for cell in row.iter(f"{TABLE}table-cell"):
        value = cell.get(f"{OFFICE}value")
        found = "".join(cell.itertext()) if value is None else float(value)
        yield from [found] * int(cell.get(f"{TABLE}number-columns-repeated", 1))
