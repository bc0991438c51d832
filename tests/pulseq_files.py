"""Pulseq files: an inversion and golden-angle radial echoes, written by pypulseq."""

from pathlib import Path

import numpy as np
import pytest

pp = pytest.importorskip("pypulseq")

FLIP_DEG = np.repeat([5.0, 15.0, 8.0], 8)
TE_MS, TR_MS = np.repeat([3.0, 3.5, 3.0], 8), np.repeat([7.0, 7.5, 7.0], 8)
TI_MS, RECOVERY_MS, INCREMENT_DEG, ANGLE_DEG = 12.0, 150.0, 50.0, 111.24611797
MATRIX, OVERSAMPLING, FOV, THICKNESS = 32, 2, 0.32, 0.008
DWELL = 2e-5  # s


def read_gradient(system, angle: float, phase: float) -> tuple[list, float]:
    """Prephaser, readout whose sample N // 2 is the centre of k-space, rewinder; and the time to the centre."""
    n = MATRIX * OVERSAMPLING
    flat = n * DWELL
    read = pp.make_trapezoid("x", flat_area=n / OVERSAMPLING / FOV, flat_time=flat, system=system)
    half_step = 0.5 / OVERSAMPLING / FOV
    pre = pp.make_trapezoid("x", area=-read.area / 2 - half_step, duration=1e-3, system=system)
    back = pp.make_trapezoid("x", area=-read.area / 2 + half_step, duration=1e-3, system=system)
    adc = pp.make_adc(n, dwell=DWELL, delay=read.rise_time, phase_offset=phase, system=system)
    to_centre = read.rise_time + (n // 2 + 0.5) * DWELL
    blocks = [
        pp.rotate(pre, angle=angle, axis="z"),
        [*pp.rotate(read, angle=angle, axis="z"), adc],
        pp.rotate(back, angle=angle, axis="z"),
    ]
    return blocks, to_centre


def wait(played, until: float) -> None:
    played.add_block(pp.make_delay(round((until - sum(played.block_durations.values())) * 1e5) * 1e-5))


def write_sequence(
    path: Path,
    *,
    shots: int = 1,
    inverted: bool = True,
    adiabatic: bool = True,
    twist_deg: float = 0.0,
    fov: bool = True,
    spoiler_cycles: float = 4.0,
    noise: int = 0,
) -> Path:
    """Write shots of an inversion and a train of spokes, one of which may be twisted; cycles are over the slice.

    `noise` readouts are played before all.
    """
    system = pp.Opts(max_grad=40, grad_unit="mT/m", max_slew=150, slew_unit="T/m/s")
    played = pp.Sequence(system)
    if adiabatic:
        inversion = pp.make_adiabatic_pulse("hypsec", duration=8e-3, adiabaticity=6, system=system, use="inversion")
    else:
        inversion = pp.make_block_pulse(np.pi, duration=1e-3, system=system, use="inversion")
    crusher = pp.make_trapezoid("z", area=10 / THICKNESS, duration=3e-3, system=system)
    for _ in range(noise):
        played.add_block(pp.make_adc(MATRIX * OVERSAMPLING, dwell=DWELL, system=system))
    for _ in range(shots):
        start = sum(played.block_durations.values())
        if inverted:
            played.add_block(inversion)
            played.add_block(crusher)
        begin = start + inversion.delay + inversion.center + TI_MS * 1e-3
        phase = 0.0
        for i, (flip_deg, te_ms, tr_ms) in enumerate(zip(FLIP_DEG, TE_MS, TR_MS, strict=True)):
            phase += INCREMENT_DEG * i
            radians = np.deg2rad(phase) % (2 * np.pi)
            pulse = pp.make_sinc_pulse(
                np.deg2rad(flip_deg), duration=1e-3, phase_offset=radians, system=system, use="excitation"
            )
            centre = pulse.delay + pulse.center
            wait(played, begin - centre)
            played.add_block(pulse)
            angle = np.deg2rad(ANGLE_DEG * i + (twist_deg if i == 5 else 0.0))
            (pre, read, back), to_centre = read_gradient(system, angle, radians)
            played.add_block(*pre)
            wait(played, begin + te_ms * 1e-3 - to_centre)
            played.add_block(*read)
            spoiler = pp.make_trapezoid("z", area=spoiler_cycles / THICKNESS, duration=1e-3, system=system)
            played.add_block(*back, spoiler)
            begin += tr_ms * 1e-3
        wait(played, begin + RECOVERY_MS * 1e-3 - (inversion.delay + inversion.center if inverted else 0.0))
    if fov:
        played.set_definition("FOV", [FOV, FOV, THICKNESS])
    played.write(str(path))
    return path
