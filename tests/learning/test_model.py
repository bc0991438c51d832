"""The model's folder: what is written comes back, whole or in half precision."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from mrfpipe.errors import InputError, MismatchError
from mrfpipe.learning import shipped
from mrfpipe.learning.model import load_model, save_model
from mrfpipe.learning.shipped import shipped_model
from mrfpipe.protocol import load_protocol

CPU = torch.device("cpu")


@pytest.fixture
def folder(make_model, tmp_path):
    save_model(make_model(), tmp_path / "model")
    return tmp_path / "model"


def test_a_model_comes_back_as_it_was(make_model, folder):
    model, loaded = make_model(), load_model(folder, CPU)
    frames = torch.randn(1, 32, 9, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded.network(frames), model.network(frames))
    assert not loaded.network.training
    for field in (
        "architecture",
        "scaling",
        "sequence_hash",
        "protocol_hash",
        "protocol_toml",
        "signal_model",
        "record",
    ):
        assert getattr(loaded, field) == getattr(model, field)
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "model.safetensors"]
    assert json.loads((folder / "model.json").read_text())["schema"] == "mrfpipe-model/6"


def test_half_of_the_size_within_the_rounding_of_float16(make_model, folder, tmp_path):
    model = make_model()
    save_model(model, tmp_path / "half", half=True)
    stored = load_file(tmp_path / "half" / "model.safetensors")
    assert {name for name, tensor in stored.items() if tensor.dtype == torch.float16} == {
        name for name, tensor in stored.items() if name.endswith("weight") and tensor.ndim == 4
    }
    loaded = load_model(tmp_path / "half", CPU).network.state_dict()
    for name, tensor in model.network.state_dict().items():
        assert loaded[name].dtype == tensor.dtype
        # Half of 2^-10 relative, the spacing of float16; below 2^-14 half of 2^-24.
        assert torch.all((loaded[name] - tensor).abs() <= torch.clamp(tensor.abs() * 2**-11, min=2**-25))
    whole, half = ((path / "model.safetensors").stat().st_size for path in (folder, tmp_path / "half"))
    assert half < whole


def test_kernels_out_of_the_range_of_float16_are_not_halved(make_model, tmp_path):
    model = make_model()
    with torch.no_grad():
        model.network.output.weight[0, 0] = 1e5
    with pytest.raises(InputError, match=r"output.weight leaves the range of float16"):
        save_model(model, tmp_path, half=True)


def test_the_package_ships_models_by_sequence(make_model, tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "models_folder", lambda: tmp_path)
    (tmp_path / "__init__.py").touch()
    with pytest.raises(
        InputError, match=r"No pretrained network is bundled with this mrfpipe .*mrfpipe train.*--model"
    ):
        shipped_model()
    with pytest.raises(
        MismatchError,
        match=r"No pretrained network is bundled for coefficients of the scan's sequence \(0123\); train one",
    ):
        shipped_model("0123")
    model = make_model()
    save_model(replace(model, record={"input": "coefficients"}), tmp_path / "t1ff", half=True)
    save_model(replace(model, record={"input": "frames"}), tmp_path / "of-frames", half=True)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model.json").write_text("{")
    assert shipped_model() == shipped_model(model.sequence_hash) == tmp_path / "t1ff"
    assert shipped_model(model.sequence_hash, "frames") == tmp_path / "of-frames"
    weights = tmp_path / "t1ff" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-3] ^= 1  # one bit of a weight: finite and of the right shape
    weights.write_bytes(data)
    with pytest.raises(InputError, match=r"model.safetensors is not what was written with model.json"):
        load_model(shipped_model(), CPU)


@pytest.mark.parametrize("kind", ["coefficients", "frames"])
def test_the_networks_that_ship_are_small_whole_and_of_their_protocol(kind):
    protocol = load_protocol("t1ff")
    folder = shipped_model(protocol.sequence.hash, kind)
    model = load_model(folder, CPU)
    assert (model.sequence_hash, model.protocol_hash) == (protocol.sequence.hash, protocol.hash)
    assert model.reads == kind
    assert model.corrects == (kind == "coefficients") == (folder == shipped_model())
    assert sum(path.stat().st_size for path in folder.iterdir()) < 12e6
    card, record = (folder / "README.md").read_text(), model.record
    assert f"{model.architecture.n_parameters:,} parameters" in card
    if model.corrects:
        assert f"{record['scans']} scans" in card
        assert f"{record['steps']:,} steps" in card
    else:
        assert f"{len(record['scans'])} phantoms" in card
        assert f"{record['n_epochs']} epochs" in card
