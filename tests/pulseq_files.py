"""Pulseq files: an inversion and golden-angle radial echoes, written by pypulseq."""

from pathlib import Path

import numpy as np
import pytest

pp = pytest.importorskip("pypulseq")

FLIP_DEG = np.repeat([5.0, 15.0, 8.0], 8)
TE_MS, TR_MS = np.repeat([3.0, 3.5, 3.0], 8), np.repeat([7.0, 7.5, 7.0], 8)
TI_MS, RECOVERY_MS, INCREMENT_DEG, ANGLE_DEG = 12.0, 150.0, 50.0, 111.24611797
MATRIX, OVERSAMPLING, FOV = 32, 2, 0.32
DWELL = 2e-5  # s


def read_gradient(system, angle: float) -> tuple[list, float]:
    """Prephaser and readout whose sample N // 2 is the centre of k-space, and the time to it from its start."""
    n = MATRIX * OVERSAMPLING
    flat = n * DWELL
    read = pp.make_trapezoid("x", flat_area=n / OVERSAMPLING / FOV, flat_time=flat, system=system)
    half_step = 0.5 / OVERSAMPLING / FOV
    pre = pp.make_trapezoid("x", area=-read.area / 2 - half_step, duration=1e-3, system=system)
    adc = pp.make_adc(n, dwell=DWELL, delay=read.rise_time, system=system)
    to_centre = read.rise_time + (n // 2 + 0.5) * DWELL
    blocks = [pp.rotate(pre, angle=angle, axis="z"), [*pp.rotate(read, angle=angle, axis="z"), adc]]
    return blocks, to_centre


def wait(played, until: float) -> None:
    played.add_block(pp.make_delay(round((until - sum(played.block_durations.values())) * 1e5) * 1e-5))


def write_sequence(
    path: Path, *, shots: int = 1, inverted: bool = True, twist_deg: float = 0.0, fov: bool = True
) -> Path:
    system = pp.Opts(max_grad=40, grad_unit="mT/m", max_slew=150, slew_unit="T/m/s")
    played = pp.Sequence(system)
    for _ in range(shots):
        inversion = pp.make_block_pulse(np.pi, duration=1e-3, system=system, use="inversion")
        start = sum(played.block_durations.values())
        if inverted:
            played.add_block(inversion)
        begin = start + inversion.delay + 0.5e-3 + TI_MS * 1e-3
        phase = 0.0
        for i, (flip_deg, te_ms, tr_ms) in enumerate(zip(FLIP_DEG, TE_MS, TR_MS, strict=True)):
            phase += INCREMENT_DEG * i
            pulse = pp.make_sinc_pulse(
                np.deg2rad(flip_deg),
                duration=1e-3,
                phase_offset=np.deg2rad(phase) % (2 * np.pi),
                system=system,
                use="excitation",
            )
            centre = pulse.delay + pulse.center
            wait(played, begin - centre)
            played.add_block(pulse)
            angle = np.deg2rad(ANGLE_DEG * i + (twist_deg if i == 5 else 0.0))
            (pre, read), to_centre = read_gradient(system, angle)
            played.add_block(*pre)
            wait(played, begin + te_ms * 1e-3 - to_centre)
            played.add_block(*read)
            begin += tr_ms * 1e-3
        wait(played, begin + RECOVERY_MS * 1e-3 - (inversion.delay + 0.5e-3 if inverted else 0.0))
    if fov:
        played.set_definition("FOV", [FOV, FOV, 0.008])
    played.write(str(path))
    return path
