"""Samples that no receiver can have measured are refused with a line that names them, and no honest scan is."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ismrmrd_files import (
    N_SAMPLES,
    N_SPOKES,
    acquisitions,
    noise_acquisition,
    small_scan,
    small_sequence,
    write_file,
)
from twix_files import twix_scan, write_vb_file, write_whole

from mrfpipe.acquisition.heads import HEAD
from mrfpipe.acquisition.implausible import check_plausible
from mrfpipe.acquisition.raw import read_raw
from mrfpipe.acquisition.scan import RawScan
from mrfpipe.errors import InputError

N, N_LONG, MATRIX = 400, 700, 350
ANGLES = np.deg2rad(111.24611797) * np.arange(N)


def with_sample(scan: RawScan, place: tuple[int, ...], value: complex) -> RawScan:
    kspace = scan.kspace.copy()
    kspace[place] = value
    return replace(scan, kspace=kspace)


def with_noise(scan: RawScan, place: tuple[int, int], value: complex) -> RawScan:
    noise = scan.noise.copy()
    noise[place] = value
    return replace(scan, noise=noise)


def write_shuffled(path: Path, scan: RawScan) -> Path:
    """Noise last, and the spokes backwards: an acquisition's number is neither its spoke nor its place in the scan."""
    return write_file(path, [*acquisitions(scan)[::-1], noise_acquisition(scan.noise)])


WRITERS = {"ismrmrd.h5": write_shuffled, "vd.dat": write_whole, "vb.dat": write_vb_file}


@pytest.mark.parametrize("value", [1e4, -1e4j, 1e30, complex(3e38, 3e38)])
@pytest.mark.parametrize("name", WRITERS)
def test_sample_is_refused_by_name(tmp_path, name, value):
    path = WRITERS[name](tmp_path / name, with_sample(twix_scan(), (1, 2, 5, 7), value))
    # Of the Twix files the noise comes first, then spoke by spoke the slices as they are counted: 0, 2, 1.
    number = 3 * N_SPOKES - 1 - (N_SPOKES + 5) if name == "ismrmrd.h5" else 1 + 3 * 5 + 2
    match = (
        rf"{re.escape(str(path))}: acquisition {number} \(slice 1, readout 5, coil 2, sample 7\) measures .* damaged"
    )
    with pytest.raises(InputError, match=match) as caught:
        read_raw(path, small_sequence())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [1e4, -1e4j, 1e30, complex(3e38, 3e38)])
@pytest.mark.parametrize("name", WRITERS)
def test_sample_of_noise_is_refused_by_name(tmp_path, name, value):
    path = WRITERS[name](tmp_path / name, with_noise(twix_scan(), (1, 17), value))
    number = 3 * N_SPOKES if name == "ismrmrd.h5" else 0
    with pytest.raises(InputError, match=rf"acquisition {number}, noise, measures .* in coil 1, sample 17, where"):
        read_raw(path, small_sequence())


def test_of_several_noise_measurements_the_damaged_one_is_named(tmp_path):
    scan = small_scan()
    noise = [noise_acquisition(part) for part in (scan.noise[:, :60], with_noise(scan, (0, 63), 1e9).noise[:, 60:])]
    path = write_file(tmp_path / "scan.h5", [noise[0], *acquisitions(scan), noise[1]])
    with pytest.raises(InputError, match=rf"acquisition {2 * N_SPOKES + 1}, noise, .* coil 0, sample 3,"):
        read_raw(path, small_sequence())


@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1e6])
def test_unit_does_not_matter(tmp_path, scale):
    scan = small_scan()
    scaled = replace(scan, kspace=scan.kspace * np.float32(scale), noise=scan.noise * np.float32(scale))
    path = write_shuffled(tmp_path / "scan.h5", scaled)
    assert np.array_equal(read_raw(path, small_sequence()).kspace, scaled.kspace)
    damaged = with_sample(scaled, (0, 0, 3, 4), 1e4 * scale)
    with pytest.raises(InputError, match="readout 3, coil 0, sample 4"):
        read_raw(write_shuffled(tmp_path / "damaged.h5", damaged), small_sequence())


def silent_coil(kspace: np.ndarray) -> None:
    kspace[:, 1] = 0


def weak_coil(kspace: np.ndarray) -> None:
    kspace[:, 1] *= 1e-6


def silent_spokes(kspace: np.ndarray) -> None:
    kspace[:, :, 2:] = 0


def silent_scan(kspace: np.ndarray) -> None:
    kspace[:] = 0


def strong_spoke(kspace: np.ndarray) -> None:
    """90 degrees among pulses of one."""
    kspace[:, :, 7] *= np.sin(np.deg2rad(90)) / np.sin(np.deg2rad(1))


def one_coil_of_the_others_noise(kspace: np.ndarray) -> None:
    kspace[:, 0, :, N_SAMPLES // 2] *= 1e4


@pytest.mark.parametrize(
    "change", [silent_coil, weak_coil, silent_spokes, silent_scan, strong_spoke, one_coil_of_the_others_noise]
)
def test_honest_scan_is_read(tmp_path, change: Callable[[np.ndarray], None]):
    scan = small_scan()
    kspace = scan.kspace.copy()
    change(kspace)
    read = read_raw(write_shuffled(tmp_path / "scan.h5", replace(scan, kspace=kspace)), small_sequence())
    assert np.array_equal(read.kspace, kspace)


@pytest.mark.parametrize("change", [silent_coil, weak_coil, silent_spokes, silent_scan])
def test_sample_is_found_in_such_a_scan(tmp_path, change: Callable[[np.ndarray], None]):
    scan = small_scan()
    kspace = scan.kspace.copy()
    change(kspace)
    damaged = with_sample(replace(scan, kspace=kspace), (1, 1, 20, 3), 1e30)
    with pytest.raises(InputError, match="slice 1, readout 20, coil 1, sample 3"):
        read_raw(write_shuffled(tmp_path / "scan.h5", damaged), small_sequence())


def positions() -> tuple[np.ndarray, np.ndarray]:
    k = (np.arange(N_LONG) - N_LONG // 2) * MATRIX / N_LONG
    return k * np.cos(ANGLES)[:, None], k * np.sin(ANGLES)[:, None]


def box(kx: np.ndarray, ky: np.ndarray) -> np.ndarray:
    """A thin one, whose spectrum falls off least in one direction and most in the others."""
    return np.sinc(0.8 * kx) * np.sinc(0.02 * ky)


def comb(kx: np.ndarray, ky: np.ndarray) -> np.ndarray:
    """Bars that fill the image: nothing honest has more off the centre of k-space, nor in fewer directions."""
    return sum(w * np.sinc(0.8 * (kx - k)) * np.sinc(0.8 * ky) for k, w in ((0, 1), (60, 0.6), (-60, 0.6)))


def disc(kx: np.ndarray, ky: np.ndarray) -> np.ndarray:
    """About as smooth as a limb."""
    k = np.hypot(kx, ky)
    return np.sinc(0.5 * k) / (1 + k)


def measured(of: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """Of the object without noise, its signal through zero and rising threefold. `(1, 1, spokes, samples)`."""
    return (np.linspace(-1, 3, N)[:, None] * of(*positions())).astype(np.complex64)[None, None]


def heads() -> np.ndarray:
    made = np.zeros(N, HEAD)
    made["kspace_encode_step_1"] = made["number"] = np.arange(N)
    return made


@pytest.mark.parametrize("of", [box, comb, disc])
def test_objects_without_noise_pass(of):
    check_plausible(measured(of), heads(), Path("scan.h5"))


@pytest.mark.parametrize("bit", [4, 5, 6])
def test_flipped_exponents_that_would_show_are_found(bit):
    """Of samples with 1/1000 of the centre of k-space or more, times 65,536 or more: wherever they are, one by one."""
    kspace, rng = np.float32(1e4) * measured(disc), np.random.default_rng(bit)  # the bit is zero from 2 to 131,072
    large = np.argwhere(np.abs(kspace[0, 0]) > 10)
    for spoke, sample in large[rng.choice(len(large), 40)]:
        damaged = kspace.copy()
        exponent = damaged[0, 0, spoke, sample : sample + 1].view(np.uint32)
        exponent[0] ^= np.uint32(1 << (23 + bit))
        assert abs(damaged[0, 0, spoke, sample]) > 6e4 * abs(kspace[0, 0, spoke, sample])
        with pytest.raises(InputError, match=rf"readout {spoke}, coil 0, sample {sample}\)"):
            check_plausible(damaged, heads(), Path("scan.h5"))
