"""Small scans with known maps, for networks that train in seconds."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from helpers import parameter_maps
from scipy.ndimage import gaussian_filter

from mrfpipe.imaging.series import FrameSeries
from mrfpipe.learning.architecture import Architecture
from mrfpipe.learning.model import TrainedModel
from mrfpipe.learning.network import initial_network
from mrfpipe.learning.presets import Preset
from mrfpipe.learning.scaling import MapScaling
from mrfpipe.maps import ParameterMaps
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.physics.simulate import fingerprints
from mrfpipe.protocol import Protocol, parse_protocol

N_Y, N_X = 37, 29  # neither equal nor a multiple of anything

PROTOCOL = """
name = "tiny"
description = "sixteen frames"
field_t = 3.0
[geometry]
matrix = 32
fov_mm = 320.0
slice_thickness_mm = 8.0
excitation_time_bandwidth = 4.0
[readout]
kind = "golden-radial"
angle_increment_deg = 111.25
oversampling = 2
readouts_per_frame = 4
[[sequence]]
block = "inversion"
[[sequence]]
block = "delay"
duration_ms = 8.0
[[sequence]]
block = "excitations"
count = 24
flip_deg = 10.0
te_ms = 2.4
tr_ms = 12.0
rf_spoiling_increment_deg = 50.0
[[sequence]]
block = "excitations"
count = 20
flip_deg = 25.0
te_ms = 3.5
tr_ms = 12.0
rf_spoiling_increment_deg = 50.0
[[sequence]]
block = "excitations"
count = 20
flip_deg = 10.0
te_ms = 4.6
tr_ms = 12.0
rf_spoiling_increment_deg = 50.0
[[sequence]]
block = "delay"
duration_ms = 1000.0
[parameters.FF]
quantity = "fat-fraction"
ranges = [[0.0, 1.0, 0.1]]
[parameters.T1H2O]
quantity = "T1"
ranges = [[500, 2000, 100]]
counts_where = "FF <= 0.7"
[parameters.T1fat]
quantity = "T1"
ranges = [[200, 400, 25]]
counts_where = "FF > 0.3"
[parameters.df]
quantity = "off-resonance"
ranges = [[-120, 120, 10]]
[parameters.B1]
quantity = "B1"
ranges = [[0.3, 1.0, 0.05]]
[[components]]
name = "water"
t1 = "T1H2O"
t2_ms = 40.0
[[components]]
name = "fat"
t1 = "T1fat"
t2_ms = 80.0
share = "FF"
amplitudes = [0.3, 0.7]
shifts_hz = [305.7, 395.6]
"""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small only lose time by sharing their work among threads."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="session")
def protocol() -> Protocol:
    return parse_protocol(PROTOCOL, "tiny")


@pytest.fixture(scope="session")
def make_scan(protocol: Protocol) -> Callable[..., tuple[FrameSeries, ParameterMaps]]:
    """Return a function that makes a noisy scan of smooth maps inside an ellipse, and those maps."""

    def make(seed: int, n_slices: int = 2, noise: float = 0.02) -> tuple[FrameSeries, ParameterMaps]:
        random = np.random.default_rng(seed)
        shape = (n_slices, N_Y, N_X)
        y, x = np.mgrid[:N_Y, :N_X]
        mask = np.broadcast_to(((y - 17) / 15) ** 2 + ((x - 15) / 12) ** 2 < 1, shape).copy()

        def smooth(low: float, high: float) -> np.ndarray:
            field = gaussian_filter(random.standard_normal(shape), (0, 4, 4), mode="wrap")
            ranks = np.argsort(np.argsort(field, axis=None)).reshape(shape) / field.size
            return low + (high - low) * ranks

        maps = {
            "FF": smooth(0.02, 0.95),
            "T1H2O": smooth(0.7, 1.8),
            "T1fat": smooth(0.22, 0.38),
            "df": smooth(-100, 100),
            "B1": smooth(0.4, 0.95),
        }
        m0 = smooth(0.8, 1.2)
        images = np.zeros((n_slices, protocol.sequence.n_frames, N_Y, N_X), np.complex64)
        clean = fingerprints(protocol, {name: values[mask] for name, values in maps.items()}) * m0[mask][:, None]
        for number in range(n_slices):
            images[number][:, mask[number]] = clean[np.nonzero(mask)[0] == number].T
        parts = random.standard_normal((2, *images.shape))
        images += (noise * np.abs(clean).mean() * (parts[0] + 1j * parts[1])).astype(np.complex64)
        series = FrameSeries(
            name=f"scan{seed}", images=images, mask=mask, affine=np.eye(4), sequence_hash=protocol.sequence.hash
        )
        return series, parameter_maps(mask=mask, m0=m0, phase=0 * m0, match=m0 / 2, **maps)

    return make


@pytest.fixture(scope="session")
def tiny_preset() -> Preset:
    return Preset(
        name="tiny",
        receptive_field=5,
        n_parameters=16_000,
        n_nonlinearities=5,
        spatial_stop=16,
        spatial_step=4,
        temporal_stop=8,
        temporal_step=8,
        patch_size=8,
        batch_size=8,
        n_epochs=3,
        learning_rate=3e-3,
        final_learning_rate=1e-4,
    )


@pytest.fixture
def make_model(protocol: Protocol) -> Callable[..., TrainedModel]:
    """Return a function that makes an untrained model of some receptive field."""

    def make(receptive_field: int = 5) -> TrainedModel:
        n_blocks = max(1, receptive_field // 2)
        architecture = Architecture(
            receptive_field=receptive_field,
            n_inputs=2 * protocol.sequence.n_frames,
            n_outputs=len(PARAMETERS),
            layers=(1,) * n_blocks,
            temporal_channels=(4,) * n_blocks,
            spatial_channels=(6,) * n_blocks,
        )
        return TrainedModel(
            network=initial_network(architecture, torch.Generator().manual_seed(3)).eval(),
            architecture=architecture,
            scaling=MapScaling.of(protocol),
            encoding=None,
            sequence_hash=protocol.sequence.hash,
            protocol_hash=protocol.hash,
            protocol_toml=protocol.toml,
            record={"seed": 3, "losses": [0.5, 0.25]},
        )

    return make
