"""``mrfpipe study``: what is listed, refused and kept; slowly, every study of the paper at small scale."""

import csv

import numpy as np
import pytest
from click.testing import CliRunner
from mrfpipe.cli import main

from mrfpipe.evaluation.metrics import nrmse
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.studies import agreement, catalogue, scale
from mrfpipe.studies.catalogue import STUDIES
from mrfpipe.studies.published import NETWORKS
from mrfpipe.studies.work import WORK, Work


def study(*words: object, code: int = 0):
    result = CliRunner().invoke(main, ["study", *(str(word) for word in words), "--device", "cpu"])
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    return result


def test_help_lists_every_study():
    text = " ".join(study("--help").output.split())
    for name, known in STUDIES.items():
        assert f"`{name}` ({known.minutes} min): {known.about}." in text


def test_every_study_of_the_catalogue_can_be_run(monkeypatch, tmp_path, tiny):
    """Each name leads to a module of its own, whose outputs are those that the catalogue lists."""
    monkeypatch.setitem(scale.SCALES, "small", tiny)
    for name in STUDIES.keys() - {"assumptions", "spoiling", "model"}:  # which work apart, and have tests of their own
        module = catalogue.import_module(f"mrfpipe.studies.{name.replace('-', '_')}")
        monkeypatch.setattr(module, "run", lambda folder, _, name=name: f"{name} in {folder.name}")
        assert f"{name} in out" in study(name, "-o", tmp_path / "out").stdout


def test_outputs_that_exist_are_replaced_by_force_alone_and_work_is_kept(studies, tiny, monkeypatch):
    monkeypatch.setitem(scale.SCALES, "small", tiny)
    name = "agreement"
    outputs = [studies / f"{name}{ending}" for ending in STUDIES[name].outputs]
    try:
        first = study(name, "-o", studies)
        assert all(path.is_file() for path in outputs)
        assert "agreement-points.csv" in first.stderr
        outputs[1].write_text("mine")
        monkeypatch.setattr(agreement, "run", None)  # refused before anything is done
        assert "agreement.csv exists" in study(name, "-o", studies, code=5).stderr
        monkeypatch.undo()
        monkeypatch.setitem(scale.SCALES, "small", tiny)
        frames = next((studies / "work" / "frames").iterdir())
        before = frames.stat().st_mtime_ns
        assert study(name, "-o", studies, "--force").stdout == first.stdout
        assert outputs[1].read_text() + "\n" == first.stdout
        assert frames.stat().st_mtime_ns == before
    finally:
        for path in outputs:
            path.unlink(missing_ok=True)


def test_the_folder_of_another_study_is_refused(studies, tiny, monkeypatch):
    monkeypatch.setitem(scale.SCALES, "small", tiny)
    result = study("agreement", "-o", studies, "--seed", 3, code=4)
    assert "other settings" in result.stderr
    assert "choose another -o" in result.stderr


def test_spoiling_leaves_its_neighbours(tmp_path, monkeypatch):
    """It writes into the folder that other studies keep their work in, and replaces nothing but its own."""
    from mrfpipe.studies import spoiling

    monkeypatch.setattr(spoiling, "compare_models", lambda *_, **__: [])
    monkeypatch.setattr(spoiling, "draw_comparisons", lambda _, __, path: path.write_bytes(b""))
    (tmp_path / "work").mkdir()
    (tmp_path / "spoiling.csv").write_text("old")
    study("spoiling", "-o", tmp_path, code=5)
    study("spoiling", "-o", tmp_path, "--force")
    assert {path.name for path in tmp_path.iterdir()} == {"work", "spoiling.csv", "spoiling.png"}
    assert (tmp_path / "spoiling.csv").read_text() != "old"


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """One folder for all studies at small scale."""
    return tmp_path_factory.mktemp("small")


def table(small, name):
    study(name, "-o", small)
    for ending in STUDIES[name].outputs:
        assert (small / f"{name}{ending}").stat().st_size > 0
    with (small / f"{name}.csv").open() as file:
        return list(csv.DictReader(file))


def number(lines, column, **where):
    (found,) = (line for line in lines if all(line[key] == value for key, value in where.items()))
    return float(found[column])


@pytest.fixture(scope="module")
def table2(small):
    """All networks trained, which some studies show beside the proposed one."""
    return table(small, "table2")


def networks(lines, column, **where):
    """The value of a column by network."""
    return {
        line["method"]: float(line[column])
        for line in lines
        if line["method"] in NETWORKS and all(line[key] == value for key, value in where.items())
    }


@pytest.mark.slow
def test_small_table2(small, table2):
    """Whoever is ahead: every network finds more in every map than that it has one value, the mean of the reference."""
    work = Work(small / WORK, scale.SCALES["small"])
    for p in PARAMETERS:
        errors = networks(table2, "mean", reference="match", metric="NRMSE", map=p.name)
        assert len(errors) == len(NETWORKS)
        matched = [work.maps("match", subject) for subject in work.split("testing")]
        values = [maps.si[p.name][maps.counts(p)] for maps in matched]
        assert max(errors.values()) < np.mean([nrmse(np.full_like(v, v.mean()), v) for v in values])


@pytest.mark.slow
def test_small_qualitative(small, table2):
    lines = table(small, "qualitative")
    for name in ("FF", "T1H2O"):
        errors = networks(lines, "mean", metric="NRMSE", map=name)
        assert list(errors) == ["proposed", "oksuz", "fang"]
        assert np.isfinite(list(errors.values())).all()


@pytest.mark.slow
def test_small_agreement(small):
    """Bias is small beside the limits, and FF and B1 correlate as well as the paper says."""
    lines = table(small, "agreement")
    for name in ("FF", "T1H2O", "T1fat", "df", "B1"):
        row = {"method": "proposed", "reference": "match", "map": name}
        assert abs(number(lines, "bias", **row)) < 0.5 * number(lines, "deviation", **row)
    for name in ("FF", "B1"):
        assert number(lines, "correlation", method="proposed", reference="match", map=name) > 0.95


@pytest.mark.slow
def test_small_sharpness(small, table2):
    """Of T1H2O all networks are clearly smoother than matching."""
    lines = table(small, "sharpness")
    for threshold in ("0.55", "0.75", "0.95"):
        shares = networks(lines, "mean", map="T1H2O", threshold=threshold)
        assert len(shares) == len(NETWORKS)
        assert max(shares.values()) < 0.7 * number(lines, "mean", map="T1H2O", threshold=threshold, method="match")


@pytest.mark.slow
def test_small_importance(small):
    """For T1H2O the first frames count, for T1fat those after 125, for all those after that change of the sequence."""
    lines = table(small, "importance")
    importance = {
        m: np.array([float(line[f"{m}_mean"]) for line in lines]) for m in ("FF", "T1H2O", "T1fat", "df", "B1")
    }
    assert importance["T1H2O"][:3].mean() > 3 * importance["T1H2O"][50:75].mean()
    assert 125 <= importance["T1fat"].argmax() < 130
    for values in importance.values():
        assert values[125:130].mean() > 2 * values[120:125].mean()
        assert values[75:80].mean() > 2 * values[70:75].mean()


@pytest.mark.slow
def test_small_generalization(small, table2):
    """Regions that were not trained on are harder than those that were."""
    lines = table(small, "generalization")
    found = networks(lines, "mean", subjects="unseen", reference="match", metric="R2", map="T1H2O")
    assert list(found) == ["proposed", "oksuz", "fang"]
    assert np.isfinite(list(found.values())).all()
    ff = {
        subjects: number(lines, "mean", subjects=subjects, method="proposed", reference="match", metric="R2", map="FF")
        for subjects in ("unseen", "test")
    }
    assert ff["unseen"] < ff["test"]


@pytest.mark.slow
def test_small_spoiling(small):
    lines = table(small, "spoiling")
    where = {"signals": "epg", "dictionary": "spoiled"}
    with_, without = (number(lines, "difference_median", increment_deg=i, **where) for i in ("50.0", "0.0"))
    assert with_ < 0.1 * without  # ideal spoiling is a model of the protocol's RF spoiling, and of none without


@pytest.mark.slow
def test_small_receptive_field(small):
    """Twice the parameters make little difference; what the receptive field does shows at larger scale alone."""
    lines = table(small, "receptive-field")
    fields = list(dict.fromkeys(line["receptive_field"] for line in lines))
    assert fields == ["1", "3", "5", "9"]
    for field in fields:
        row = {"receptive_field": field, "reference": "match", "metric": "NRMSE", "map": "T1H2O"}
        few, many = (number(lines, "mean", budget=budget, **row) for budget in ("60000", "120000"))
        assert many == pytest.approx(few, rel=0.25)


@pytest.mark.slow
def test_small_training_size(small):
    """More subjects are better, in every map, and with half of all the maps are almost those of all."""
    lines = table(small, "training-size")
    for name in ("FF", "T1H2O", "T1fat", "df", "B1"):
        row = {"reference": "match", "metric": "NRMSE", "map": name}
        errors = {size: number(lines, "mean", n_training=size, **row) for size in ("2", "4", "8", "16")}
        assert errors["2"] > errors["4"] > errors["8"]
        assert errors["16"] < errors["4"]
        assert errors["8"] < 1.2 * errors["16"]
