"""Pulseq files of formats before 1.4."""

from pathlib import Path

import numpy as np
import pytest
from pulseq_played import TIME, kinds

from mrfpipe.acquisition.pulseq import protocol_from_pulseq
from mrfpipe.protocol import Delay, Excitations, Inversion


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "played.seq"


OLD = """\
[VERSION]
major 1
minor {minor}
revision 0

[DEFINITIONS]
FOV 0.2 0.2 0.005

[BLOCKS]
{blocks}

[RF]
1 5000 1 2 0 0 0
2 {amplitude:.6f} 1 2 0 0 0

[TRAP]
1 1000000 100 1900 100 0
{gradients}

[ADC]
1 64 10000 0 0 0

[DELAYS]
1 10000

[SHAPES]

shape_id 1
num_samples 100
1
0
0
97

shape_id 2
num_samples 100
0
0
98
"""
"""An inversion and three spokes of the old formats: RF, gradients, ADC and delays by number, all durations in us."""


@pytest.mark.parametrize("minor", [2, 3])
def test_files_of_before_pulseq_1_4(path, minor):
    """The delay is played with the first gradient, no block has a duration, and no pulse says what it is for."""
    blocks = ["0 1 0 0 0 0", "1 0 0 0 1 0"]
    gradients, n_spokes, turn = [], 3, np.deg2rad(120)
    for i in range(n_spokes):
        first = 2 + 6 * i
        along = np.array([np.cos(i * turn), np.sin(i * turn)])
        for area, ramp, flat in ((-81.25, 100, 900), (160, 0, 640), (-78.75, 100, 900)):
            for amplitude in area / ((ramp + flat) * 1e-6) * along:
                gradients.append(f"{len(gradients) + 2} {amplitude:.6f} {ramp} {flat} {ramp} 0")
        x, y = first, first + 1
        blocks += ["0 2 0 0 0 0", f"0 0 {x} {y} 0 0", f"0 0 {x + 2} {y + 2} 0 1", f"0 0 {x + 4} {y + 4} 1 0"]
    numbered = [f"{n} {block}{' 0' if minor > 2 else ''}" for n, block in enumerate(blocks, start=1)]
    path.write_text(
        OLD.format(minor=minor, blocks="\n".join(numbered), gradients="\n".join(gradients), amplitude=30 / 360 / 100e-6)
    )
    sequence = protocol_from_pulseq(path).sequence
    assert kinds(sequence) == [Inversion, Delay, Excitations]
    assert sequence.blocks[0] == Inversion(scales_with_b1=True)
    assert sequence.inversion_time == pytest.approx(10.1e-3, abs=TIME)
    train = sequence.trains[0]
    np.testing.assert_allclose(np.rad2deg(train.flip), 30, atol=1e-3)
    np.testing.assert_allclose(train.te, 0.05e-3 + 1.1e-3 + 325e-6, atol=TIME)
    np.testing.assert_allclose(train.tr[:-1], 0.1e-3 + 1.1e-3 + 0.64e-3 + 2.1e-3, atol=TIME)
    assert train.dephasing == 10
    assert (sequence.matrix, sequence.readout.oversampling) == (32, 2)
    assert np.rad2deg(sequence.readout.angle_increment) == pytest.approx(120, abs=1e-3)
