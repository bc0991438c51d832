import dataclasses
import inspect
import weakref

import numpy as np
import pytest
from helpers import complex_normal, image_of
from mrfpipe.cli.match import command

from mrfpipe.dictionary import build_dictionary
from mrfpipe.errors import MismatchError, ResourceError
from mrfpipe.files import frames
from mrfpipe.files.frames import StoredSeries, read_frames_header, save_frames
from mrfpipe.files.provenance import Provenance
from mrfpipe.imaging.series import FrameSeries, each_slice
from mrfpipe.matching import match
from mrfpipe.matching.group import pair_bytes
from mrfpipe.matching.grouping import build_groups
from mrfpipe.matching.match import LEAST_MEMORY, match_series, voxels_at_once
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.physics.simulate import fingerprints
from mrfpipe.protocol import load_protocol
from mrfpipe.run.choices import MATCHING
from mrfpipe.run.source import Timed, usable_slices


@pytest.fixture(scope="module")
def dictionary():
    return build_dictionary(load_protocol("t1ff-small"), rank=15)


def series_of(dictionary, values, scale, mask, **changes):
    """Two slices of 4 x 5 voxels with the given parameters `(slices, y, x)`."""
    flat = fingerprints(dictionary.protocol, {name: array.ravel() for name, array in values.items()})
    images = np.moveaxis((flat * scale.reshape(-1, 1)).reshape(*mask.shape, -1), -1, 1)
    content = {
        "name": "t",
        "images": np.ascontiguousarray(images.astype(np.complex64)),
        "mask": mask,
        "affine": np.diag([1.0, 2, 3, 1]),
    }
    return FrameSeries(**(content | {"sequence_hash": dictionary.protocol.sequence.hash} | changes))


def random_case(dictionary):
    rng, grid, shape = np.random.default_rng(0), dictionary.protocol.grid, (2, 4, 5)
    values = {p.name: rng.choice(grid[p.name], shape) for p in PARAMETERS}
    values["FF"] = rng.choice(grid["FF"][2:8], shape)
    scale = (5 * complex_normal(rng, *shape) + 1).astype(complex)
    mask = rng.random(shape) < 0.8
    return values, scale, mask


@pytest.mark.parametrize("method", ["exact", "group", "brute"])
def test_noise_free_voxels_give_their_parameters(dictionary, method):
    groups = build_groups(dictionary, 30) if method == "group" else None
    values, scale, mask = random_case(dictionary)
    steps, n_cells = [], dictionary.protocol.grid["df"].size * dictionary.protocol.grid["B1"].size
    maps = match_series(
        series_of(dictionary, values, scale, mask),
        dictionary,
        method,
        groups=groups,
        refined=False,
        progress=lambda *s: steps.append(s),
    )[0]
    np.testing.assert_array_equal(maps.mask, mask)
    np.testing.assert_array_equal(maps.affine, np.diag([1.0, 2, 3, 1]))
    assert steps[-1:] == ([(n_cells, n_cells)] if method == "brute" else [])
    for parameter in PARAMETERS:
        found = maps.si[parameter.name]
        assert np.all(np.isnan(found[~mask]))
        np.testing.assert_allclose(found[mask], values[parameter.name][mask], rtol=1e-6)
    np.testing.assert_allclose(maps.m0[mask], np.abs(scale)[mask], rtol=1e-3)
    np.testing.assert_allclose(np.exp(1j * maps.phase)[mask], (scale / np.abs(scale))[mask], atol=1e-3)
    np.testing.assert_allclose(maps.match[mask], 1, atol=1e-4)


@pytest.mark.parametrize("refined", [False, True])
def test_what_was_compared_is_handed_on(dictionary, refined):
    """Measured and matched signals are those of the maps: their ratio has the phase and the size the maps state."""
    values, scale, mask = random_case(dictionary)
    series = series_of(dictionary, values, scale, mask)
    one_by_one = (dataclasses.replace(series, images=series.images[s : s + 1], mask=mask[s : s + 1]) for s in range(2))
    maps, found = match_series(one_by_one, dictionary, refined=refined)
    frames = np.moveaxis(series.images, 1, -1)[mask]
    size = np.linalg.norm(frames, axis=1, keepdims=True)
    # rank 15 loses less than a thousandth of any signal; a lost conjugate or another order of voxels all of it
    assert np.abs(found.measured @ found.basis.T - frames).max() < 1e-2 * size.max()
    estimates = {name: image[mask].astype(float) for name, image in maps.si.items()}
    simulated = fingerprints(dictionary.protocol, estimates) @ found.basis.conj()
    # a refined signal is interpolated between entries, to some thousandths
    tolerance = 2e-2 if refined else 1e-4
    off = np.linalg.norm(found.simulated - simulated, axis=1) / np.linalg.norm(simulated, axis=1)
    assert off.max() < tolerance
    overlap = np.sum(found.simulated.conj() * found.measured, axis=1)
    np.testing.assert_allclose(np.exp(1j * maps.phase[mask]), overlap / np.abs(overlap), atol=1e-4)
    np.testing.assert_allclose(maps.m0[mask], np.abs(overlap) / np.linalg.norm(found.simulated, axis=1) ** 2, rtol=1e-4)


def test_matching_from_python_refines_as_the_command_does(dictionary):
    """Off the grid by half a step: nothing on the grid has these parameters."""
    values, scale, mask = random_case(dictionary)
    for name, step in (("FF", 0.1), ("T1H2O", 0.2), ("df", 20), ("B1", 0.15)):
        axis = dictionary.protocol.grid[name]
        values[name] = np.clip(values[name], axis[2], axis[-3]) + step / 2
    series = series_of(dictionary, values, scale, mask)
    maps, told = match_series(series, dictionary)[0], match_series(series, dictionary, refined=True)[0]
    np.testing.assert_array_equal(maps.si["FF"], told.si["FF"])
    assert np.median(np.abs(maps.si["df"] - values["df"])[mask]) < 2  # on the grid it is 10 Hz
    (by_command,) = [option.default for option in command.params if option.name == "refine"]
    assert MATCHING.refined is by_command
    for choice in ("method", "refined", "gap", "memory"):
        assert inspect.signature(match_series).parameters[choice].default == getattr(MATCHING, choice)


def test_slice_after_slice_is_all_slices(dictionary):
    values, scale, mask = random_case(dictionary)
    series = series_of(dictionary, values, scale, mask)
    one_by_one = (dataclasses.replace(series, images=series.images[s : s + 1], mask=mask[s : s + 1]) for s in range(2))
    whole, parts = (match_series(some, dictionary, refined=True)[0] for some in (series, one_by_one))
    for name in (*(p.name for p in PARAMETERS), "m0", "phase", "match", "edge", "mask", "affine"):
        np.testing.assert_array_equal(image_of(whole, name), image_of(parts, name))


def test_gap_is_in_units_of_the_match(dictionary):
    """What is left when the gap is taken off the match is the correlation of the second peak over all frames."""
    values, scale, mask = random_case(dictionary)
    series = series_of(dictionary, values, np.ones_like(scale), mask)
    outside = complex_normal(np.random.default_rng(1), *series.images.shape)
    outside -= np.einsum(
        "fr,srxy->sfxy", dictionary.basis, np.einsum("fr,sfxy->srxy", dictionary.basis.conj(), outside)
    )
    clean, noisy = (
        match_series(
            series_of(dictionary, values, scale, mask, images=images.astype(np.complex64)),
            dictionary,
            refined=False,
            gap=True,
        )[0]
        for images in (series.images, series.images + 0.01 * outside)
    )
    assert match_series(series, dictionary)[0].gap is None
    np.testing.assert_array_equal(np.isnan(clean.gap), ~mask)
    np.testing.assert_allclose((noisy.gap / clean.gap)[mask], (noisy.match / clean.match)[mask], rtol=1e-3)
    assert (noisy.match / clean.match)[mask].min() < 0.95


@pytest.mark.parametrize("method", ["exact", "group", "brute"])
def test_memory_changes_how_much_is_done_at_once_and_nothing_else(dictionary, method, monkeypatch):
    rng, n = np.random.default_rng(2), 1300
    series = series_of(dictionary, *random_case(dictionary)[:2], np.ones((2, 4, 5), bool))
    images = complex_normal(rng, 1, series.n_frames, 26, 50)
    many = FrameSeries(
        name="t", images=images, mask=np.ones((1, 26, 50), bool), affine=np.eye(4), sequence_hash=series.sequence_hash
    )
    groups = build_groups(dictionary, 30)
    seen = []
    original = getattr(match, f"match_{method}")
    monkeypatch.setattr(
        match, f"match_{method}", lambda c, *args, **kw: seen.append(len(c)) or original(c, *args, **kw)
    )
    whole = match_series(many, dictionary, method, groups=groups, refined=False, memory=1 << 30)[0]
    assert seen == [n]
    seen.clear()
    monkeypatch.setattr(match, "LEAST_MEMORY", 1 << 18)
    parts = match_series(many, dictionary, method, groups=groups, refined=False, memory=1 << 18)[0]
    assert seen == [512, 512, 276]
    for name in (*(p.name for p in PARAMETERS), "m0", "phase", "match", "edge"):
        np.testing.assert_array_equal(image_of(whole, name), image_of(parts, name))


def test_voxels_at_once_fit_the_memory_and_grow_with_it(dictionary):
    groups = build_groups(dictionary, 30)
    for memory in (LEAST_MEMORY, 1 << 29):
        n = voxels_at_once(dictionary, groups, memory)
        assert n % 512 == 0
        assert n * (pair_bytes(groups) + 24 * dictionary.rank) < memory
        assert n > memory // 2 // (pair_bytes(groups) + 24 * dictionary.rank + 64) - 512
    assert voxels_at_once(dictionary, None, 1 << 50) == 512 * 512
    with pytest.raises(ResourceError, match=r"cannot work in 0\.1 GB of memory; give it at least 0\.27 GB"):
        voxels_at_once(dictionary, None, 10**8)


def test_edges_are_told_by_bit(dictionary):
    values, scale, mask = random_case(dictionary)
    maps = match_series(series_of(dictionary, values, scale, mask), dictionary, refined=False)[0]
    for n, parameter in enumerate(PARAMETERS):
        axis = dictionary.protocol.grid[parameter.name]
        at_end = np.isin(values[parameter.name], axis[[0, -1]]) & mask
        np.testing.assert_array_equal((maps.edge >> n) & 1, at_end)


def test_match_is_the_correlation_over_all_frames(dictionary):
    """Noise of the signal's own norm, nearly all of it outside the basis, halves the energy explained."""
    values, scale, mask = random_case(dictionary)
    series = series_of(dictionary, values, np.ones_like(scale), mask)
    power = np.mean(np.abs(series.images) ** 2, axis=1, keepdims=True)
    noisy = series.images + np.sqrt(power) * complex_normal(np.random.default_rng(1), *series.images.shape)
    maps = match_series(series_of(dictionary, values, scale, mask, images=noisy.astype(np.complex64)), dictionary)[0]
    assert np.mean(maps.match[mask] ** 2) == pytest.approx(0.5, abs=0.07)


def test_voxels_without_signal_stay_out(dictionary):
    values, scale, mask = random_case(dictionary)
    mask[:] = True
    scale[1, 2, 3] = 0
    scale[0] = 0
    maps = match_series(series_of(dictionary, values, scale, mask), dictionary)[0]
    assert not maps.mask[0].any()
    assert not maps.mask[1, 2, 3]
    assert maps.mask[1].sum() == 19
    assert np.isnan(maps.si["FF"][1, 2, 3])


def test_frames_of_another_sequence_are_refused(dictionary):
    values, scale, mask = random_case(dictionary)
    with pytest.raises(
        MismatchError, match="frames of t are of another sequence than the dictionary's protocol 't1ff-small'"
    ):
        match_series(series_of(dictionary, values, scale, mask, sequence_hash="other"), dictionary)


def test_group_matching_without_groups_is_refused(dictionary):
    values, scale, mask = random_case(dictionary)
    with pytest.raises(MismatchError, match="'t1ff-small' has no groups; make it again with mrfpipe simulate --groups"):
        match_series(series_of(dictionary, values, scale, mask), dictionary, "group")


def as_coefficients(series, basis):
    """Give a series the form that a subspace reconstruction has."""
    images = np.einsum("fr,sfyx->sryx", basis.conj(), series.images).astype(np.complex64)
    return dataclasses.replace(series, images=images, basis=basis)


def test_coefficients_match_as_the_frames_they_make(dictionary):
    """Of the dictionary's own basis, of one that is turned, and with the phase of every voxel's scale."""
    values, scale, mask = random_case(dictionary)
    series = series_of(dictionary, values, scale, mask)
    expected = match_series(series, dictionary, refined=False)[0]
    rng = np.random.default_rng(5)
    turn = np.linalg.qr(complex_normal(rng, dictionary.rank, dictionary.rank))[0].astype(np.complex64)
    for basis in (dictionary.basis, dictionary.basis @ turn):
        maps = match_series(as_coefficients(series, basis), dictionary, refined=False)[0]
        np.testing.assert_array_equal(maps.mask, expected.mask)
        for parameter in PARAMETERS:
            np.testing.assert_array_equal(maps.si[parameter.name], expected.si[parameter.name])
        np.testing.assert_allclose(maps.m0, expected.m0, rtol=1e-4)
        np.testing.assert_allclose(maps.match[mask], 1, atol=1e-4)


@pytest.mark.parametrize("method", ["exact", "group", "brute"])
def test_fewer_coefficients_than_the_dictionary_has_are_compared_with_theirs_alone(dictionary, method):
    """The leading ones in any mixture: a signal is found whole, though some of it lies outside their space."""
    values, scale, mask = random_case(dictionary)
    series = series_of(dictionary, values, scale, mask)
    few = 5
    basis = dictionary.basis[:, :few]
    frames = np.moveaxis(series.images, 1, -1)[mask]
    outside = np.linalg.norm(frames - frames @ basis.conj() @ basis.T, axis=1) / np.linalg.norm(frames, axis=1)
    assert outside.max() > 0.05
    turn = np.linalg.qr(complex_normal(np.random.default_rng(5), few, few))[0].astype(np.complex64)
    groups = build_groups(dictionary, 30) if method == "group" else None
    for some in (basis, basis @ turn):
        maps, found = match_series(as_coefficients(series, some), dictionary, method, groups=groups, refined=False)
        # What an entry has in the space is what was measured there, to the rounding of float32.
        np.testing.assert_allclose(maps.match[mask], 1, atol=1e-5)
        np.testing.assert_allclose(maps.m0[mask], np.abs(scale)[mask], rtol=1e-3)
        np.testing.assert_allclose(np.exp(1j * maps.phase)[mask], (scale / np.abs(scale))[mask], atol=1e-3)
        for parameter in PARAMETERS:
            np.testing.assert_allclose(maps.si[parameter.name][mask], values[parameter.name][mask], rtol=1e-6)
        np.testing.assert_array_equal(found.basis, some)


def test_match_of_coefficients_is_over_their_subspace(dictionary):
    """Noise outside the subspace is gone before, noise inside it still lowers the match."""
    values, scale, mask = random_case(dictionary)
    series = series_of(dictionary, values, np.ones_like(scale), mask)
    power = np.mean(np.abs(series.images) ** 2, axis=1, keepdims=True)
    noisy = series.images + np.sqrt(power) * complex_normal(np.random.default_rng(1), *series.images.shape)
    coefficients = as_coefficients(dataclasses.replace(series, images=noisy.astype(np.complex64)), dictionary.basis)
    match = match_series(coefficients, dictionary)[0].match[mask]
    # 15 of the 175 dimensions of the noise are left beside the signal's energy; matching takes a part of those, too.
    assert 15 / 175 / 4 < np.mean(1 - match**2) < 15 / 175


def test_a_slice_of_a_file_is_read_when_those_before_are_gone(dictionary, tmp_path, monkeypatch):
    """One slice of frames is in memory at most."""
    series, path, protocol = series_of(dictionary, *random_case(dictionary)), tmp_path / "four.h5", dictionary.protocol
    made = Provenance(
        command=[], inputs={}, protocol_name="", protocol_hash="", method="", device="cpu", started="", duration_s=0.0
    )
    save_frames(2 * [*each_slice(series)], path, protocol=protocol, provenance=lambda: made)
    images, alive, read = [], [], frames._read

    def watched(*given):
        alive.append(sum(one() is not None for one in images))
        one = read(*given)
        images.append(weakref.ref(one.images))
        return one

    monkeypatch.setattr(frames, "_read", watched)
    stored = StoredSeries(path=path, header=read_frames_header(path))
    maps = match_series(Timed(usable_slices(stored, path, protocol), stored.n_slices), dictionary)[0]
    assert alive == [0, 0, 0, 0]
    whole = match_series(series, dictionary)[0]
    for name, values in whole.si.items():
        np.testing.assert_array_equal(maps.si[name], np.concatenate([values, values]))


def test_signals_are_compressed_a_few_at_a_time_with_nothing_lost(dictionary, monkeypatch):
    """Rounding alone may differ: a product of fewer rows may be summed in another order."""
    series = series_of(dictionary, *random_case(dictionary))
    whole = match._Voxels.of(series, dictionary)
    monkeypatch.setattr(match, "SIGNALS_AT_ONCE", 3)
    in_parts = match._Voxels.of(series, dictionary)
    signals = np.moveaxis(series.images, 1, -1)[whole.mask]
    for found in (whole, in_parts):
        np.testing.assert_allclose(found.coefficients, signals @ dictionary.basis.conj(), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(found.norm, np.linalg.norm(signals, axis=1), rtol=1e-6)
