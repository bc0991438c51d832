"""Pulseq sequences that tests put together piece by piece, and the protocols derived from them."""

from pathlib import Path

import numpy as np
import pytest

from mrfpipe.acquisition.pulseq import protocol_from_pulseq
from mrfpipe.protocol import Sequence

pp = pytest.importorskip("pypulseq")

FOV, THICKNESS, N = 0.2, 5e-3, 32
SYSTEM = pp.Opts(max_grad=60, grad_unit="mT/m", max_slew=180, slew_unit="T/m/s")
TIME = 2e-6  # s: microseconds in the protocol, and the raster's half


class Played:
    """A sequence of slice-selective excitations with a spoke each, and whatever else a test plays between."""

    def __init__(self) -> None:
        self.sequence = pp.Sequence(SYSTEM)
        self.sequence.set_definition("FOV", [FOV, FOV, THICKNESS])

    def excite(
        self,
        flip_deg: float = 20.0,
        *,
        place: float = 0.0,
        angle_deg: float = 0.0,
        spoiler_cycles: float = 4.0,
        receiver_deg: float = 0.0,
        line: float = 0.0,
        echoes: int = 1,
        pieces: int = 1,
        use: str = "excitation",
    ) -> None:
        pulse, select, _ = pp.make_sinc_pulse(
            np.deg2rad(flip_deg), duration=1e-3, slice_thickness=THICKNESS, system=SYSTEM, return_gz=True, use=use
        )
        pulse.freq_offset = select.amplitude * place
        pulse.phase_offset = -2 * np.pi * pulse.freq_offset * pulse.center
        self.sequence.add_block(pulse, select)
        read = pp.make_trapezoid("x", flat_area=N / FOV, flat_time=N * 2e-5, system=SYSTEM)
        adc = pp.make_adc(N, dwell=2e-5, delay=read.rise_time, phase_offset=np.deg2rad(receiver_deg), system=SYSTEM)
        rephase = pp.make_trapezoid("z", area=-select.area / 2, duration=1e-3, system=SYSTEM)
        half_step = 0.5 / FOV
        before, after = -read.area / 2 - half_step, -read.area / 2 + half_step

        def along(gradient: object) -> list[object]:
            return pp.rotate(gradient, angle=np.deg2rad(angle_deg), axis="z")

        self.sequence.add_block(*along(pp.make_trapezoid("x", area=before, duration=1e-3, system=SYSTEM)), rephase)
        if line:
            self.sequence.add_block(*along(pp.make_trapezoid("y", area=line / FOV, duration=1e-3, system=SYSTEM)))
        for echo in range(echoes):
            if echo:
                self.sequence.add_block(*along(pp.make_trapezoid("x", area=-read.area, duration=1e-3, system=SYSTEM)))
            if pieces == 1:
                self.sequence.add_block(*along(read), adc)
                continue
            half = read.rise_time + N // 2 * 2e-5
            first, second = pp.split_gradient_at(read, half, system=SYSTEM)
            second.delay = 0.0
            for gradient, delay in ((first, read.rise_time), (second, 0.0)):
                self.sequence.add_block(gradient, pp.make_adc(N // 2, dwell=2e-5, delay=delay, system=SYSTEM))
        spoil = pp.make_trapezoid(
            "z", area=spoiler_cycles / THICKNESS - select.area / 2, duration=1.5e-3, system=SYSTEM
        )
        back = pp.make_trapezoid("x", area=after, duration=1.5e-3, system=SYSTEM)
        self.sequence.add_block(*along(back), spoil)

    def train(self, n: int = 6, **options: float) -> None:
        for i in range(n):
            self.excite(angle_deg=i * 111.246, **options)

    def hard(self, flip_deg: float, phase_deg: float = 0.0, use: str = "preparation", frequency: float = 0.0) -> None:
        pulse = pp.make_block_pulse(
            np.deg2rad(flip_deg),
            duration=2e-4,
            phase_offset=np.deg2rad(phase_deg),
            freq_offset=frequency,
            system=SYSTEM,
            use=use,
        )
        self.sequence.add_block(pulse)

    def adiabatic(self, use: str = "inversion") -> None:
        self.sequence.add_block(
            pp.make_adiabatic_pulse("hypsec", duration=8e-3, adiabaticity=6, system=SYSTEM, use=use)
        )

    def gradient(self, cycles: float, duration: float = 2e-3) -> None:
        """Dephase over the slice."""
        self.sequence.add_block(pp.make_trapezoid("z", area=cycles / THICKNESS, duration=duration, system=SYSTEM))

    def label(self, **values: int) -> None:
        self.sequence.add_block(*(pp.make_label(name, "SET", value) for name, value in values.items()))

    def wait(self, duration: float, *others: object) -> None:
        self.sequence.add_block(pp.make_delay(duration), *others)


def derive(played: Played, path: Path, **options: object) -> Sequence:
    played.sequence.write(str(path))
    return protocol_from_pulseq(path, **options).sequence


def kinds(sequence: Sequence) -> list[type]:
    return [type(block) for block in sequence.blocks]


def protocol_times(path: Path) -> list[float]:
    """Centres of the pulses, as pypulseq has them."""
    sequence = pp.Sequence()
    sequence.read(str(path))
    times, start = [], 0.0
    for number, duration in sequence.block_durations.items():
        block = sequence.get_block(number)
        if block.rf is not None:
            times.append(start + block.rf.delay + block.rf.center)
        start += duration
    return times
