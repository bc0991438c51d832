"""The model's folder: what is written comes back, and anything else is refused with one line."""

import json
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file

from mrfpipe.errors import InputError
from mrfpipe.learning.model import load_model, save_model

CPU = torch.device("cpu")


@pytest.fixture
def folder(make_model, tmp_path):
    save_model(make_model(), tmp_path / "model")
    return tmp_path / "model"


def edit(folder, **changes):
    path = folder / "model.json"
    description = json.loads(path.read_text())
    for key, value in changes.items():
        inner = description
        *keys, last = key.split("__")
        for k in keys:
            inner = inner[k]
        inner[last] = value
    path.write_text(json.dumps(description))


def edit_tensors(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def refused(folder, *words):
    with pytest.raises(InputError) as caught:
        load_model(folder, CPU)
    line = str(caught.value)
    assert "\n" not in line
    assert str(folder) in line
    for word in words:
        assert word in line


def test_a_model_comes_back_as_it_was(make_model, folder):
    model, loaded = make_model(), load_model(folder, CPU)
    frames = torch.randn(1, 32, 9, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded.network(frames), model.network(frames))
    assert not loaded.network.training
    for field in ("architecture", "scaling", "sequence_hash", "protocol_hash", "protocol_toml", "record"):
        assert getattr(loaded, field) == getattr(model, field)
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "model.safetensors"]
    assert json.loads((folder / "model.json").read_text())["schema"] == "mrfpipe-model/1"


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_missing_file(folder, name):
    (folder / name).unlink()
    refused(folder, name, "is missing")


def test_pickle_in_the_weights_place_is_not_executed(folder, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (type(tmp_path).touch, (tmp_path / "executed",))

    (folder / "model.safetensors").write_bytes(pickle.dumps(Bomb()))
    refused(folder, "model.safetensors", "not a safetensors file")
    torch.save({"weight": torch.zeros(2)}, folder / "model.safetensors")
    refused(folder, "not a safetensors file")
    assert not (tmp_path / "executed").exists()


def test_weights_cut_off(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    refused(folder, "model.safetensors", "cut off")


@pytest.mark.parametrize("text", ["{", "", "[" * 100_000, b"\xff\xfe\x00"])
def test_description_that_is_no_json(folder, text):
    path = folder / "model.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    refused(folder, "model.json", "not a JSON file")


@pytest.mark.parametrize("text", ["[]", "{}", "3", '{"schema": "mrfpipe-model/2"}'])
def test_description_of_another_schema(folder, text):
    (folder / "model.json").write_text(text)
    refused(folder, "model.json", "this version reads 'mrfpipe-model/1'")


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"architecture": None}, "None"),
        ({"architecture__layers": [1, "1"]}, "'1'"),
        ({"architecture__layers": [1, -1]}, "layers"),
        ({"architecture__layers": [1]}, "layers"),
        ({"architecture__receptive_field": 4}, "odd"),
        ({"architecture__n_outputs": 4}, "outputs"),
        ({"architecture__n_inputs": True}, "True"),
        ({"architecture": {}}, "receptive_field"),
        ({"maps": []}, "FF"),
        ({"maps": [{"name": "FF", "low": 0.0, "high": 1.0}]}, "FF"),
        ({"sequence_hash": 3}, "3"),
        ({"record": []}, "[]"),
    ],
)
def test_description_that_makes_no_sense(folder, changes, word):
    edit(folder, **changes)
    refused(folder, "model.json does not describe a model", word)


def test_ranges_that_are_none(folder):
    description = json.loads((folder / "model.json").read_text())
    description["maps"][1]["low"] = float("nan")
    edit(folder, maps=description["maps"])
    refused(folder, "model.json", "T1H2O")


@pytest.mark.parametrize("layers", [[1, 2], [1, 10**12]])
def test_description_of_other_layers(folder, layers):
    edit(folder, architecture__layers=layers)
    refused(folder, "model.safetensors", "does not hold the layers")


@pytest.mark.parametrize("channels", [[4, 5], [10**15, 4]])
def test_description_of_other_channels(folder, channels):
    edit(folder, architecture__temporal_channels=channels)
    refused(folder, "model.safetensors")


def test_tensors_of_other_names_shapes_or_types(folder):
    edit_tensors(folder, lambda tensors: tensors.update(extra=torch.zeros(1)))
    refused(folder, "tensor extra is not known")
    edit_tensors(folder, lambda tensors: tensors.pop("extra"))
    whole = load_file(folder / "model.safetensors")
    edit_tensors(folder, lambda tensors: tensors.pop("output.bias"))
    refused(folder, "output.bias is missing")
    save_file(whole | {"output.bias": torch.zeros(6)}, folder / "model.safetensors")
    refused(folder, "output.bias has shape (6,), expected (5,)")
    save_file(whole | {"output.bias": torch.zeros(5, dtype=torch.float16)}, folder / "model.safetensors")
    refused(folder, "output.bias is torch.float16, expected torch.float32")


def test_weights_that_are_not_finite(folder):
    def spoil(tensors):
        tensors["output.weight"][0, 0] = torch.inf

    edit_tensors(folder, spoil)
    refused(folder, "output.weight is not finite")
