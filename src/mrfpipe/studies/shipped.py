"""The shipped model: how the network that comes with the package is made, on a GPU in minutes or on a CPU in hours.

Scans are made on the device that trains, from bodies that are never the same twice: see `mrfpipe.studies.simulated`,
`mrfpipe.studies.varied` and `mrfpipe.studies.correction`.
"""

from dataclasses import asdict, dataclass, replace

import numpy as np
import torch

from mrfpipe.imaging.nufft import Backend
from mrfpipe.learning.encoding import Encoding
from mrfpipe.learning.model import TrainedModel
from mrfpipe.learning.network import FingerprintNetwork, initial_network
from mrfpipe.learning.presets import Preset
from mrfpipe.learning.scaling import MapScaling
from mrfpipe.phantom.cohort import draw_cohort
from mrfpipe.protocol import Protocol
from mrfpipe.studies.correction import Report, Training, matching_errors
from mrfpipe.studies.examples import Source, bodies_of
from mrfpipe.studies.simulated import SimulatedScanner


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a model is made of."""

    preset: Preset
    """The network and its training, but for epochs, of which there are none."""
    seconds: float
    """Time of the training, in which scans are made too; what all scans share and the first scans come before."""
    n_subjects: int = 300
    """Size of the cohort: its training subjects are trained on, 94 of 164."""
    n_first: int = 32
    """Scans that are made before the training begins."""
    n_validation: int = 8
    """Scans of validation subjects that tell how the training goes."""
    n_test: int = 50
    """Test subjects to compare the model with matching on."""


PRESET = Preset(
    name="shipped",
    receptive_field=15,
    n_parameters=2_000_000,
    spatial_stop=48,
    spatial_step=16,
    temporal_step=16,
    patch_size=48,
    batch_size=64,
    learning_rate=1.5e-3,
    final_learning_rate=1e-6,
    settled=0.3,
)
RECIPES = {
    "small": Recipe(
        preset=replace(
            PRESET,
            name="shipped-small",
            n_parameters=300_000,
            spatial_stop=24,
            spatial_step=8,
            temporal_stop=16,
            temporal_step=8,
            patch_size=32,
            batch_size=8,
        ),
        seconds=5400,
        n_subjects=40,
        n_first=12,
        n_validation=2,
        n_test=4,
    ),
    "paper": Recipe(preset=PRESET, seconds=310),
}
"""``paper``: the model that ships, made on an NVIDIA H200 in seven minutes, 310 s of them the training; ``small``: one
of fewer parameters for two cores of a CPU, in two hours, never run for so long."""


def train_model(
    recipe: Recipe,
    protocol: Protocol,
    *,
    device: torch.device,
    backend: Backend,
    seed: int,
    processes: int,
    report: Report,
) -> TrainedModel:
    """Make a model: bodies, what all scans share, the first scans, and the training.

    Parameters
    ----------
    recipe
        What it is made of.
    protocol
        Of a radial scan of two components.
    device
        Where scans are made and the network is trained.
    backend
        What computes NUFFTs.
    seed
        Decides bodies, scans, weights and patches; the time of a machine decides how many.
    processes
        That draw bodies.
    report
        Called as the training goes, and before, with a share of 0.
    """
    cohort, random = draw_cohort(recipe.n_subjects, seed=seed), torch.Generator(device).manual_seed(seed)
    bodies = [
        [
            {name: torch.from_numpy(image).to(device) for name, image in body.items()}
            for body in bodies_of(cohort.split(split)[:most], protocol, processes)
        ]
        for split, most in (("training", None), ("validation", recipe.n_validation))
    ]
    report(0.0, {"bodies": sum(map(len, bodies))})
    scanner = SimulatedScanner.of(protocol, device, backend, seed=seed)
    source, held_out = (Source(scanner, protocol, some, random) for some in bodies)
    validation = [held_out() for _ in range(recipe.n_validation)]
    examples = [source() for _ in range(recipe.n_first)]
    report(0.0, {"scans": len(examples)})
    basis, n_maps = scanner.basis.cpu().numpy(), len(protocol.parameters)
    parts = [example.coefficients[:, example.precision[0] > 0].cpu().numpy() for example in examples]
    encoding = Encoding.measured(basis, np.concatenate(parts, axis=1), lengths=True)
    architecture = recipe.preset.proposed(2 * basis.shape[1] + n_maps, 2 * n_maps)
    network = initial_network(architecture, torch.Generator().manual_seed(seed))
    training = Training(
        preset=recipe.preset,
        seconds=recipe.seconds,
        network=network.to(device, memory_format=torch.channels_last),  # type: ignore[call-overload]
        source=source,
        held_out=validation,
        mean=torch.from_numpy(encoding.mean).to(device),
        deviation=torch.from_numpy(encoding.deviation).to(device),
        scale=matching_errors(examples),
        random=np.random.default_rng(seed),
        examples=examples,
    )
    n_steps, n_scans = training.run(report)
    return TrainedModel(
        network=_unscaled(training, n_maps),
        architecture=architecture,
        scaling=MapScaling.of(protocol),
        encoding=encoding,
        sequence_hash=protocol.sequence.hash,
        protocol_hash=protocol.hash,
        protocol_toml=protocol.toml,
        corrects=True,
        record={
            "input": "coefficients",
            "recipe": asdict(recipe),
            "seed": seed,
            "steps": n_steps,
            "scans": n_scans,
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        },
    )


def _unscaled(training: Training, n_maps: int) -> FingerprintNetwork:
    """Work the scale of the corrections into the last layer."""
    network = training.network.cpu().requires_grad_(requires_grad=False).eval()
    scale, output = training.scale.cpu(), network.output
    output.weight[:n_maps] *= scale[..., None]
    output.bias[:n_maps] *= scale[:, 0, 0]  # type: ignore[index]
    output.bias[n_maps:] += scale[:, 0, 0].log()  # type: ignore[index]
    return network
