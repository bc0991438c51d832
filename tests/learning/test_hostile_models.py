"""Models and checkpoints that are damaged, foreign or malicious: refused with one line, nothing in them executed.

The canary is a file that a pickle would make if it were loaded.
"""

import io
import json
import os
import pickle
import resource
import struct
import zipfile
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from mrfpipe.errors import InputError, MismatchError
from mrfpipe.learning.checkpoint import TrainingState, load_checkpoint, save_checkpoint
from mrfpipe.learning.competitors import NETWORKS, Competitor
from mrfpipe.learning.inference import reconstruct
from mrfpipe.learning.model import load_model, save_model
from mrfpipe.run.mapper import model_protocol

CPU = torch.device("cpu")
SETTINGS = {"seed": 1}
MEMORY = 200_000
"""kB that reading a bad file may take at most: far less than what absurd sizes ask for."""


@pytest.fixture
def folder(make_model, tmp_path):
    save_model(make_model(), tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def canary(tmp_path):
    """Return a pickle that makes a file when it is loaded; the file must not be there at the end of a test."""

    class Bomb:
        def __reduce__(self):
            return (type(tmp_path).touch, (tmp_path / "executed",))

    return Bomb(), tmp_path / "executed"


@pytest.fixture
def state(make_model):
    network = make_model().network
    state = TrainingState(network=network, optimiser=torch.optim.Adam(network.parameters()))
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    state.optimiser.step()
    state.losses = [0.5]
    return state


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


def pickled(bomb, kind):
    """Write a malicious object in every form that torch has saved models in."""
    if kind == "pickle":
        return pickle.dumps(bomb)
    buffer = io.BytesIO()
    torch.save({"network": bomb}, buffer, _use_new_zipfile_serialization=kind == "zip")
    return buffer.getvalue()


def safetensors_with(header, data=b""):
    text = json.dumps(header).encode() if isinstance(header, dict) else header
    return struct.pack("<Q", len(text)) + text + data


def header_of_pickle(bomb):
    """A safetensors header that is no JSON but a pickle."""
    return safetensors_with(pickle.dumps(bomb))


@pytest.mark.parametrize("name", ["model.safetensors", "model.json"])
@pytest.mark.parametrize("kind", ["pickle", "zip", "legacy", "header"])
def test_a_pickle_in_a_models_place_is_not_executed(folder, canary, kind, name):
    bomb, executed = canary
    content = header_of_pickle(bomb) if kind == "header" else pickled(bomb, kind)
    (folder / name).write_bytes(content)
    refused(folder, name, "not a safetensors file" if name.endswith("safetensors") else "not a JSON file")
    assert not executed.exists()
    if kind == "pickle":  # the canary would sing
        pickle.loads(content)  # noqa: S301
        assert executed.exists()


@pytest.mark.parametrize("kind", ["pickle", "zip", "legacy", "header"])
def test_a_pickle_in_a_checkpoints_place_is_not_executed(state, canary, tmp_path, kind):
    bomb, executed = canary
    path = tmp_path / "model.checkpoint"
    path.write_bytes(header_of_pickle(bomb) if kind == "header" else pickled(bomb, kind))
    with pytest.raises(InputError, match="not a whole checkpoint"):
        load_checkpoint(path, state, SETTINGS)
    assert not executed.exists()


def test_a_pickle_beside_a_model_is_not_looked_at(folder, canary):
    bomb, executed = canary
    for name in ("pytorch_model.bin", "data.pkl", "model.pt", "__init__.py"):
        (folder / name).write_bytes(pickle.dumps(bomb))
    load_model(folder, CPU)
    assert not executed.exists()


def test_an_archive_of_a_model_is_refused(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        archive.write(folder / "model.json", "../../model.json")
    refused(tmp_path / "model.zip", "cannot be read")


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_missing_file(folder, name):
    (folder / name).unlink()
    refused(folder, name, "is missing")


def test_weights_cut_off(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    refused(folder, "model.safetensors", "truncated")


@pytest.mark.parametrize("text", ["{", "", "[" * 100_000, b"\xff\xfe\x00"])
def test_description_that_is_no_json(folder, text):
    path = folder / "model.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    refused(folder, "model.json", "not a JSON file")


@pytest.mark.parametrize("text", ["[]", "{}", "3", '{"schema": "mrfpipe-model/1"}'])
def test_description_of_another_schema(folder, text):
    (folder / "model.json").write_text(text)
    refused(folder, "model.json", "this version reads 'mrfpipe-model/6'")


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


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 7,
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 10**9) + b"{}",
        safetensors_with(b"{" * 1000),
        safetensors_with({"output.bias": {"dtype": "F32", "shape": [5], "data_offsets": [0, 10**12]}}),
        safetensors_with({"output.bias": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 20]}}, b"\0" * 20),
        safetensors_with({"output.bias": {"dtype": "PICKLE", "shape": [5], "data_offsets": [0, 20]}}, b"\0" * 20),
    ],
)
def test_headers_that_lie(folder, state, content):
    (folder / "model.safetensors").write_bytes(content)
    refused(folder, "model.safetensors", "not a safetensors file or is truncated")
    with pytest.raises(InputError, match="not a whole checkpoint"):
        load_checkpoint(folder / "model.safetensors", state, SETTINGS)


@pytest.mark.parametrize("size", [10**9, 10**18, 10**30])
@pytest.mark.parametrize("name", ["proposed", *NETWORKS])
def test_absurd_sizes_are_refused_before_they_are_allocated(folder, name, size):
    """10^9 channels would be terabytes; 10^30 is no size that torch knows."""
    if name == "proposed":
        edit(folder, architecture__n_inputs=size)
    else:
        edit(folder, architecture={"name": name, "n_inputs": size, "n_outputs": 5})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(folder)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY


@pytest.mark.parametrize("field", ["spatial_channels", "temporal_channels", "receptive_field"])
def test_absurd_layers_are_refused_before_they_are_allocated(folder, field):
    for size in (10**9 + 1, 10**30 + 1):
        edit(folder, **{f"architecture__{field}": size if field == "receptive_field" else [size, size]})
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        refused(folder)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_what_is_no_regular_file_is_not_waited_for(folder, name):
    (folder / name).unlink()
    os.mkfifo(folder / name)
    refused(folder, name)
    (folder / name).unlink()
    (folder / name).symlink_to("/dev/zero")
    refused(folder, name)


def test_a_path_in_a_description_is_only_text(folder, tmp_path):
    (tmp_path / "other").mkdir()
    edit(folder, weights="../other/model.safetensors", record={"weights": "/etc/passwd"})
    assert load_model(folder, CPU).record == {"weights": "/etc/passwd"}
    edit(folder, architecture={"name": "../fang", "n_inputs": 32, "n_outputs": 5})
    refused(folder, "There is no network '../fang'")
    edit(folder, architecture={"name": "__class__", "n_inputs": 32, "n_outputs": 5})
    refused(folder, "There is no network '__class__'")


def test_weights_of_another_model_of_the_same_layers(make_model, folder, tmp_path):
    other = make_model()
    with torch.no_grad():
        other.network.output.bias += 1
    save_model(other, tmp_path / "other")
    (tmp_path / "other" / "model.safetensors").replace(folder / "model.safetensors")
    refused(folder, "is not what was written with model.json")
    edit(folder, weights_sha256=3)
    refused(folder, "does not describe a model", "3")


def test_a_model_of_another_sequence_or_with_a_false_protocol(make_scan, protocol, folder):
    scan, _ = make_scan(1, n_slices=1)
    edit(folder, sequence_hash="0123")
    with pytest.raises(MismatchError, match="trained for sequence 0123"):
        reconstruct(scan, load_model(folder, CPU), protocol, device=CPU)
    edit(
        folder,
        sequence_hash=protocol.sequence.hash,
        protocol_toml=protocol.toml.replace("duration_ms = 8", "duration_ms = 9", 1),
    )
    model = load_model(folder, CPU)
    with pytest.raises(MismatchError, match="Protocol tiny has sequence"):
        reconstruct(scan, model, model_protocol(model), device=CPU)
    edit(folder, protocol_toml="import os")
    refused(folder, "model.json, its protocol: not a TOML file")


def test_a_competitor_in_the_place_of_another(make_model, tmp_path):
    networks = [Competitor(name=name, n_inputs=32, n_outputs=5) for name in ("cohen", "hoppe")]
    models = [
        replace(make_model(), network=network.initial(torch.Generator().manual_seed(0)), architecture=network)
        for network in networks
    ]
    for name, model in zip("ab", models, strict=True):
        save_model(model, tmp_path / name)
    (tmp_path / "a" / "model.safetensors").replace(tmp_path / "b" / "model.safetensors")
    refused(tmp_path / "b", "are not of one model")


def spoiled_checkpoint(path, change):
    with path.open("rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    tensors = load_file(path)
    metadata = header["__metadata__"]
    change(tensors, metadata)
    save_file(tensors, path, metadata)


def not_a_number(tensors, metadata):
    tensors["network.output.weight"][0, 0] = torch.nan


def other_shape(tensors, metadata):
    tensors["network.output.bias"] = torch.zeros(6)


def lost_moment(tensors, metadata):
    del tensors["optimiser.0.exp_avg"]


def other_types(tensors, metadata):
    metadata["training"] = json.dumps({"losses": [[1]], "validation_losses": [], "settings": SETTINGS})


def no_settings(tensors, metadata):
    metadata["training"] = json.dumps({"losses": [], "validation_losses": [], "settings": 3})


def deep(tensors, metadata):
    metadata["training"] = "[" * 100_000


@pytest.mark.parametrize("change", [not_a_number, other_shape, lost_moment, other_types, no_settings, deep])
def test_checkpoints_that_are_not_whole(state, tmp_path, change):
    path = tmp_path / "model.checkpoint"
    save_checkpoint(path, state, SETTINGS)
    load_checkpoint(path, state, SETTINGS)
    spoiled_checkpoint(path, change)
    with pytest.raises(InputError, match="not a whole checkpoint") as caught:
        load_checkpoint(path, state, SETTINGS)
    assert "\n" not in str(caught.value)


def test_checkpoints_of_another_training_or_schema_or_cut_off(state, tmp_path):
    path = tmp_path / "model.checkpoint"
    save_checkpoint(path, state, SETTINGS)
    with pytest.raises(MismatchError, match="another training"):
        load_checkpoint(path, state, {"seed": 2})
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    with pytest.raises(InputError, match="not a whole checkpoint"):
        load_checkpoint(path, state, SETTINGS)
    path.write_bytes(whole.replace(b"mrfpipe-checkpoint/1", b"mrfpipe-checkpoint/9"))
    with pytest.raises(InputError, match="has schema 'mrfpipe-checkpoint/9'"):
        load_checkpoint(path, state, SETTINGS)
