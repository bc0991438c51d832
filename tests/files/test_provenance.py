import dataclasses
import hashlib
import json
import platform
import threading

import numpy as np
import pytest

from mrfpipe.errors import InputError
from mrfpipe.files import provenance as home
from mrfpipe.files.provenance import Provenance, Recipe, sha256_beside, sha256_of, software_versions


def test_json_round_trip(provenance):
    assert Provenance.from_json(provenance.to_json()) == provenance
    assert json.loads(provenance.to_json())["seed"] == 7
    without_seed = dataclasses.replace(provenance, seed=None)
    assert Provenance.from_json(without_seed.to_json()) == without_seed


def test_what_was_written_before_there_were_recipes_is_read(provenance):
    recipe = Recipe(kind="frames", scan="11", by=None, protocol="p", imaging={"density": "ramp"}, options={})
    with_recipe = dataclasses.replace(provenance, recipe=recipe)
    assert Provenance.from_json(with_recipe.to_json()) == with_recipe
    content = json.loads(with_recipe.to_json())
    del content["recipe"]
    assert Provenance.from_json(json.dumps(content)) == provenance


def test_recipes_differ_in_what_they_say_they_do():
    recipe = Recipe(kind="network", scan="1", by="2", protocol="3", imaging={"density": "ramp"}, options={"gap": True})
    assert recipe.differences(dataclasses.replace(recipe)) == []
    for name, changes in {
        "scan": {"scan": "9"},
        "dictionary or network": {"by": None},
        "signal model": {"signal_model": "epg"},
        "version of mrfpipe": {"mrfpipe": "9"},
        "density": {"imaging": {"density": "pipe-menon"}},
        "gap": {"options": {"gap": False}},
    }.items():
        assert recipe.differences(dataclasses.replace(recipe, **changes)) == [name]
    assert recipe.differences(dataclasses.replace(recipe, imaging={})) == ["density"]


def test_versions_of_all_that_numbers_depend_on(provenance):
    assert set(provenance.versions) == {"python", "mrfpipe", "numpy", "torch", "sigpy", "numba"}
    assert software_versions()["numpy"] == np.__version__
    assert software_versions()["python"] == platform.python_version()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("command", "mrfpipe"),
        ("command", [1]),
        ("inputs", []),
        ("inputs", {"a": 1}),
        ("versions", None),
        ("seed", "7"),
        ("seed", True),
        ("duration_s", "1"),
        ("method", None),
        ("notes", []),
        ("recipe", {}),
        ("recipe", 1),
        ("unknown", 1),
    ],
)
def test_impossible_json_is_refused(provenance, key, value):
    content = json.loads(provenance.to_json()) | {key: value}
    with pytest.raises(ValueError, match="Provenance"):
        Provenance.from_json(json.dumps(content))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}"])
def test_what_is_no_provenance_is_refused(text):
    with pytest.raises(ValueError):
        Provenance.from_json(text)


def test_sha256_of_file(tmp_path):
    data = np.random.default_rng(0).bytes(3_000_001)
    (tmp_path / "scan.dat").write_bytes(data)
    assert sha256_of(tmp_path / "scan.dat") == hashlib.sha256(data).hexdigest()


def test_sha256_of_folder_depends_on_names_and_contents_only(tmp_path):
    def make(folder, files):
        for name, text in files:
            (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / name).write_text(text)
        return sha256_of(tmp_path / folder)

    files = [("model.json", "{}"), ("deep/weights", "1"), ("a", "2")]
    total = make("one", files)
    assert make("two", files[::-1]) == total
    assert make("three", [*files[:2], ("a", "3")]) != total
    assert make("four", [*files[:2], ("b", "2")]) != total


def test_sha256_of_what_is_not_there_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"absent cannot be read: No such file"):
        sha256_of(tmp_path / "absent")


def test_sha256_is_computed_beside_what_its_caller_does(tmp_path, monkeypatch):
    went_on = threading.Event()
    monkeypatch.setattr(home, "sha256_of", lambda path: f"{path.name} {went_on.wait(10)}")
    wait = sha256_beside(tmp_path / "scan")
    went_on.set()
    assert wait() == wait() == "scan True"


def test_an_error_of_a_sha256_that_is_computed_beside_is_told_when_it_is_asked_for(tmp_path):
    wait = sha256_beside(tmp_path / "absent")
    with pytest.raises(InputError, match=r"absent cannot be read: No such file"):
        wait()
