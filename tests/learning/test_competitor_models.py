"""Models of the published networks: written, read and used as those of the proposed one are."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from mrfpipe.errors import InputError
from mrfpipe.learning.competitors import NETWORKS, Competitor
from mrfpipe.learning.inference import reconstruct
from mrfpipe.learning.model import load_model, save_model
from mrfpipe.learning.scaling import SignalScaling
from mrfpipe.phantom.truth import PARAMETERS

CPU = torch.device("cpu")


@pytest.fixture
def competitor(make_model, protocol):
    """Return a function that makes a model of one of them, with random weights."""

    def make(name):
        architecture = Competitor(name=name, n_inputs=2 * protocol.sequence.n_frames, n_outputs=len(PARAMETERS))
        network = architecture.initial(torch.Generator().manual_seed(5)).eval()
        return replace(make_model(), architecture=architecture, network=network)

    return make


@pytest.mark.parametrize("name", list(NETWORKS))
def test_they_are_read_as_they_were_written(competitor, tmp_path, name):
    model = competitor(name)
    save_model(model, tmp_path)
    found = load_model(tmp_path, CPU)
    assert found.architecture == model.architecture
    for key, tensor in model.network.state_dict().items():
        torch.testing.assert_close(found.network.state_dict()[key], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["cohen", "fang"])
def test_their_maps_are_those_of_the_whole_slice(competitor, make_scan, protocol, name):
    """One that pads would see its padding at the borders of tiles."""
    model, (scan, _) = competitor(name), make_scan(1)
    n_y, n_x = scan.images.shape[-2:]
    frames = np.stack([SignalScaling.of(scan).window(f, 0, 0, n_y, n_x) for f in scan.images])
    with torch.no_grad():
        expected = model.scaling.from_unit(np.moveaxis(model.network(torch.from_numpy(frames)).numpy(), 1, 0))
    maps = reconstruct(scan, model, protocol, device=CPU, tile_size=8)[0]
    for i, parameter in enumerate(PARAMETERS):
        found = maps.si[parameter.name][maps.mask]
        axis = protocol.grid[parameter.name]
        # Float32 through a dozen layers; padding at borders of tiles would show in the second digit.
        np.testing.assert_allclose(found, expected[i][maps.mask], rtol=0, atol=1e-4 * (axis[-1] - axis[0]))


def test_a_network_that_is_not_known_is_refused(competitor, tmp_path):
    save_model(competitor("cohen"), tmp_path)
    path = tmp_path / "model.json"
    for change in ({"name": "other"}, {"name": "hoppe"}, {"n_inputs": 349}, {"n_outputs": 4}):
        description = json.loads(path.read_text())
        changed = description | {"architecture": description["architecture"] | change}
        (tmp_path / "changed").mkdir(exist_ok=True)
        (tmp_path / "changed" / "model.json").write_text(json.dumps(changed))
        (tmp_path / "changed" / "model.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes())
        with pytest.raises(InputError):
            load_model(tmp_path / "changed", CPU)
