"""Vials of T1 and T2, scanned by a simulator of others: MRzeroCore 1.2.0, by phase distribution graphs.

It reads a Pulseq file by itself. Its pulses are instantaneous and scale with B1, which is 1 here; off-resonance is 0.
"""

import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from mrfpipe.cli import main

import mrfpipe as mrf

MISSING = [name for name in ("MRzeroCore", "mrseq") if find_spec(name) is None]
T1_MS = np.array([300, 500, 700, 900, 1100, 1300, 1600, 2000])
T2_MS = np.array([40, 60, 90, 50, 70, 110, 80, 150])
N, N_COILS = 64, 4
"""Voxels along x and along y of which the vials are made, little boxes."""
CENTRES = np.array([(x, y) for y in (-9.8, 9.2) for x in (-20.8, -6.8, 7.2, 21.2)])
"""Of the vials, in those voxels."""
RADIUS, INNER = 4.6, 3.2
"""Of a vial, and of the part that is looked at; the edge of an image's voxel is not the vial's."""
DEPHASED = 100.0
"""In 1/m along z, of which moments between pulses are made multiples: full cycles over the thickness of a box."""
LONGEST_HARD_PULSE = 5e-3
"""In s; a longer one is an adiabatic inversion, whose integral the simulator takes for its angle."""
AT_MOST = {"T1": 0.03, "T2": 0.05}
"""Relative error of a vial's mean."""


def needs(*packages: str) -> pytest.MarkDecorator:
    lacking = [name for name in packages if name in MISSING]
    return pytest.mark.skipif(bool(lacking), reason=f"not installed: {', '.join(lacking)}")


def run(*words: object) -> str:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output


def labels(matrix: int, radius: float = RADIUS) -> np.ndarray:
    """Which vial each voxel of an image is in; -1 of none. Shape `(y, x)`."""
    y, x = (np.mgrid[:matrix, :matrix] - matrix // 2) * N / matrix
    label = np.full((matrix, matrix), -1)
    for i, (cx, cy) in enumerate(CENTRES):
        label[(x - cx) ** 2 + (y - cy) ** 2 < radius**2] = i
    return label


def coils(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Smooth complex sensitivities at places in FOV. Shape `(coils, places)`."""
    a = 2 * np.pi * (np.arange(N_COILS)[:, None] + 0.4) / N_COILS
    d2 = (x - 0.75 * np.cos(a)) ** 2 + (y - 0.75 * np.sin(a)) ** 2
    return np.exp(-d2 / 0.72 + 1j * (2 * a + 1.3 * x * np.cos(2 * a) - 0.9 * y * np.sin(a)))


def scanned(path: Path, fov: float) -> np.ndarray:
    """Play a Pulseq file on the vials; signals of all readouts but those before the first pulse.

    Shape `(samples, coils)`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import MRzeroCore
        import torch

        y, x = np.nonzero(labels(N) >= 0)
        vial, x, y = labels(N)[y, x], (x - N // 2) / N, (y - N // 2) / N
        one, size = torch.ones(x.size), torch.tensor([fov / N, fov / N, 1 / DEPHASED])
        vials = MRzeroCore.SimData(
            one,
            torch.tensor(T1_MS[vial] * 1e-3, dtype=torch.float32),
            torch.tensor(T2_MS[vial] * 1e-3, dtype=torch.float32),
            1e9 * one,  # T2'
            0 * one,  # diffusion
            0 * one,  # off-resonance
            one[None].to(torch.cfloat),  # B1
            torch.tensor(coils(x, y)).to(torch.cfloat),
            torch.tensor([fov, fov, 1 / DEPHASED]),
            torch.eye(3, 4),
            torch.tensor(np.stack([x * fov, y * fov, 0 * x], 1), dtype=torch.float32),
            torch.tensor([1e4, 1e4, DEPHASED / 2]),  # k within which there is signal
            lambda k, _: torch.prod(torch.sinc(k * size), dim=1),
        )
        played = MRzeroCore.Sequence.import_file(str(path), exact_trajectories=False)
        for one_pulse in played:
            rounded(one_pulse)
        graph = MRzeroCore.compute_graph(of_one_time(played), vials, max_state_count=200, min_state_mag=1e-4)
        signals = MRzeroCore.execute_graph(
            Forgetting(graph), played, vials, min_emitted_signal=1e-3, min_latent_signal=1e-3, print_progress=False
        )
    return signals.numpy()


class Forgetting(list):
    """A graph that forgets the moments of states that were played, which keep gigabytes from being used again."""

    def __getitem__(self, index):
        found = super().__getitem__(index)
        return self.forgotten(found) if isinstance(index, slice) else found

    @staticmethod
    def forgotten(repetitions):
        before = []
        for states in repetitions:
            yield states
            for state in before:
                state.kt_vec = None
            before = states


def rounded(repetition) -> None:
    """Make times and moments of a pulse and what follows it binary fractions.

    States that differ by the rounding of a file would be kept apart, be too many, and be dropped. What the gradients
    leave behind a repetition lies along z.
    """
    import torch

    if repetition.pulse.duration > LONGEST_HARD_PULSE:
        repetition.pulse.angle = torch.tensor(np.pi)
    time = np.round(np.cumsum(repetition.event_time.double().numpy()) * 2**23) / 2**23
    k = np.round(np.cumsum(repetition.gradm.double().numpy(), axis=0) * 2**12) / 2**12
    assert np.abs(k[-1, :2]).max() < 1, "the readout's gradients are not rewound"
    k[-1] = 0, 0, DEPHASED * round(k[-1, 2] / DEPHASED)
    k[:-1, 2] = 0
    repetition.event_time = torch.tensor(np.diff(time, prepend=0), dtype=torch.float32)
    repetition.gradm = torch.tensor(np.diff(k, axis=0, prepend=np.zeros((1, 3))), dtype=torch.float32)


def of_one_time(played):
    """The same sequence with one time from pulse to pulse, and none where no gradients dephase.

    Of it the graph is made: states of one moment that differ in time alone are one, where nothing is off resonance.
    """
    import MRzeroCore
    import torch

    made = []
    for one in played:
        times = torch.zeros_like(one.event_time)
        times[-1] = 2**-7 if one.gradm.any() else 0
        made.append(MRzeroCore.sequence.Repetition(one.pulse, times, one.gradm.clone(), one.adc_phase, one.adc_usage))
    return MRzeroCore.Sequence(made, normalized_grads=False)


def errors(folder: Path) -> dict[str, np.ndarray]:
    """Relative errors of the vials' means. Shape `(vials)` each."""
    maps = mrf.load_maps(folder)
    inside = labels(maps.mask.shape[-1], INNER)
    means = {name: np.array([maps[name][0][inside == i].mean() for i in range(T1_MS.size)]) for name in AT_MOST}
    return {"T1": means["T1"] / T1_MS - 1, "T2": means["T2"] / T2_MS - 1}
