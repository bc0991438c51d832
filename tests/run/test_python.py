"""``import mrfpipe``: the commands as functions, on a raw scan, a frames file and a plain array."""

import ast
import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from helpers import small_protocol, untrained_model
from mrfpipe.cli import imaging_options, limit, match, reconstruct, simulate

import mrfpipe as mrf
from mrfpipe.acquisition.ismrmrd_writer import write_ismrmrd
from mrfpipe.acquisition.raw import read_raw
from mrfpipe.errors import InputError, MismatchError, OutputExistsError
from mrfpipe.files.truth import save_truth
from mrfpipe.imaging.choices import BEST, BY_FRAMES, Imaging
from mrfpipe.imaging.reconstruction import Reconstruction
from mrfpipe.learning.model import save_model
from mrfpipe.limit import bounds, points_of
from mrfpipe.phantom.anatomy import thigh
from mrfpipe.phantom.scanner import scan
from mrfpipe.progress import SILENT
from mrfpipe.readout_basis import at_readouts
from mrfpipe.run.by import MatchBy
from mrfpipe.run.frames import FramesJob
from mrfpipe.run.job import MapsJob

N = 32
MAPS = ("FF", "T1H2O", "T1fat", "df", "B1", "M0", "M0phase", "match", "edge")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A protocol's file, a raw scan of a phantom, its frames, and a dictionary."""
    folder = tmp_path_factory.mktemp("python")
    protocol = small_protocol(matrix=N)
    (folder / "small.toml").write_text(protocol.toml)
    phantom = thigh(matrix=N, fov=0.35, n_slices=1, slice_spacing=0.01, seed=0)
    write_ismrmrd(scan(phantom, protocol, n_coils=3, seed=0, name="leg"), protocol.sequence, folder / "leg.h5")
    save_truth(phantom.maps, phantom.rois, folder / "leg.truth.npz")
    job = FramesJob(
        source=folder / "leg.h5",
        target=folder / "leg.frames.h5",
        force=False,
        command=[],
        protocol=protocol,
        imaging=BY_FRAMES,
    )
    job.run(SILENT)
    mrf.save_dictionary(mrf.simulate(folder / "small.toml"), folder / "small.h5")
    return folder


@pytest.fixture(scope="module")
def by_command(folder):
    """What the command makes of the raw scan."""
    by = MatchBy(dictionary=folder / "small.h5")
    job = MapsJob(
        source=folder / "leg.h5",
        target=folder / "by-command" / "leg",
        force=False,
        command=["mrfpipe", "match"],
        bids=False,
        by=by,
        device="cpu",
        imaging=BY_FRAMES,
    )
    job.run(SILENT)
    return job


def assert_same_maps(one, other, names=None):
    assert [*one] == ([*other] if names is None else names)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])
    np.testing.assert_array_equal(one.mask, other.mask)


def test_ten_lines(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    protocol = mrf.load_protocol("small.toml")
    dictionary = mrf.simulate(protocol, model="epg", rank=8)
    maps = mrf.match("leg.h5", dictionary, recon="subspace")
    assert f"<p>leg: 1 x {N} x {N} (slices, y, x), {maps.mask.sum():,} voxels" in maps._repr_html_()
    assert 0 <= maps["FF"][maps.mask].min() < maps["FF"][maps.mask].max() <= 1
    assert 600 < np.median(maps["T1H2O"][maps.mask & (maps["FF"] < 0.5)]) < 1800, "ms"
    assert maps.plot().height > maps.plot(0).width / 3, "three rows: maps, truth and difference"
    maps.save(tmp_path / "P01")
    assert maps.provenance.method.startswith("subspace, conjugate gradients")
    frames = mrf.load_frames("leg.frames.h5")
    mine = mrf.match(frames.images[0], dictionary, mask=frames.mask[0])
    assert mine["FF"].shape == (1, N, N)
    assert {"maps.h5", "maps.png", "report.html", "coils.png", "FF.nii.gz"} <= {p.name for p in tmp_path.glob("P01/*")}


def test_a_raw_scan_its_frames_a_series_and_an_array_give_the_maps_of_the_command(folder, by_command):
    expected = mrf.load_maps(by_command.target)
    frames = mrf.load_frames(folder / "leg.frames.h5")
    dictionary = mrf.load_dictionary(folder / "small.h5")
    assert_same_maps(mrf.match(folder / "leg.h5", dictionary, recon="nufft"), expected)
    assert_same_maps(mrf.match(str(folder / "leg.frames.h5"), str(folder / "small.h5"), device="cpu"), expected)
    assert_same_maps(mrf.match(frames, dictionary), expected)
    # Of an array nobody knows the noise.
    alone = [name for name in expected if not name.endswith("_sd")]
    assert len(alone) + 5 == len([*expected])
    assert_same_maps(mrf.match(frames.images[0].astype(complex), dictionary, mask=frames.mask[0]), expected, alone)
    # The mask is that of a raw scan, too.
    assert_same_maps(mrf.match(frames.images[0], dictionary), expected, alone)


def test_a_subspace_has_a_value_of_its_basis_for_every_readout(folder, tmp_path):
    """Of maps and of a file of coefficients."""
    dictionary, imaging = mrf.load_dictionary(folder / "small.h5"), Imaging(recon="subspace")
    sequence, basis = dictionary.protocol.sequence, dictionary.subspace
    raw, bases = (
        read_raw(folder / "leg.h5", sequence),
        {"basis": basis, "readout_basis": at_readouts(basis, dictionary)},
    )
    expected, of_frames = (
        Reconstruction(raw, sequence, imaging, **some).series() for some in (bases, {"basis": basis})
    )
    assert np.linalg.norm(expected.images - of_frames.images) > 1e-3 * np.linalg.norm(expected.images)
    maps = mrf.match(folder / "leg.h5", dictionary, recon="subspace")
    np.testing.assert_array_equal(maps.fingerprints.measured, expected.images[0][:, maps.mask[0]].T)
    FramesJob(
        source=folder / "leg.h5",
        target=tmp_path / "leg.frames.h5",
        force=False,
        command=[],
        protocol=dictionary.protocol,
        imaging=imaging,
        dictionary=folder / "small.h5",
    ).run(SILENT)
    np.testing.assert_array_equal(mrf.load_frames(tmp_path / "leg.frames.h5").images, expected.images)


def test_a_saved_result_is_that_of_the_command_and_the_command_takes_it_for_done(folder, by_command, tmp_path):
    made = mrf.match(folder / "leg.h5", folder / "small.h5", recon="nufft")
    made.save(tmp_path / "leg")
    assert {p.name for p in (tmp_path / "leg").iterdir()} == {p.name for p in by_command.target.iterdir()}
    here = dataclasses.replace(by_command, target=tmp_path / "leg")
    assert here.made().recipe == by_command.recipe()
    assert here.made().command == []
    with pytest.raises(OutputExistsError, match="replace it with --force"):
        made.save(tmp_path / "leg")
    again = mrf.load_maps(tmp_path / "leg")
    assert_same_maps(again, made)
    assert (again.name, len(again.fingerprints.measured)) == ("leg", made.mask.sum())
    # What was never a file is not taken for one.
    dictionary = mrf.load_dictionary(folder / "small.h5")
    assert mrf.match(folder / "leg.h5", dictionary, recon="nufft").provenance.recipe != by_command.recipe()
    series = mrf.match(mrf.load_frames(folder / "leg.frames.h5"), dictionary).provenance
    assert (series.recipe, series.inputs, series.protocol_hash) == (None, {}, dictionary.protocol.hash)


@pytest.mark.filterwarnings(
    "ignore:T1H2O and most of its neighbourhood are at the grid limit"
)  # it has learned nothing
def test_a_network_from_python(folder, tmp_path):
    protocol = mrf.load_protocol(folder / "small.toml")
    model = untrained_model(protocol)
    save_model(model, tmp_path / "model")
    frames = mrf.load_frames(folder / "leg.frames.h5")
    of_frames = mrf.reconstruct(frames.images[0], mrf.load_model(tmp_path / "model"), mask=frames.mask[0])
    for given in (folder / "leg.h5", folder / "leg.frames.h5", frames):
        assert_same_maps(mrf.reconstruct(given, str(tmp_path / "model")), of_frames)
    for given in (folder / "leg.frames.h5", frames):  # no network ships for this sequence
        with pytest.raises(MismatchError, match="No pretrained network is bundled"):
            mrf.reconstruct(given)
    with pytest.raises(TypeError, match="The network determines how"):
        mrf.reconstruct(frames, model, recon="subspace")


def test_the_warnings_of_the_page_are_given_in_python_too(folder):
    dictionary, frames = mrf.load_dictionary(folder / "small.h5"), mrf.load_frames(folder / "leg.frames.h5")
    with pytest.warns(UserWarning, match="most of its neighbourhood are at the grid limit"):
        made = mrf.match(frames.images[0][::-1], dictionary, mask=frames.mask[0])  # frames in the wrong order
    assert "\n" not in made.warning


def test_the_truth_beside_a_scan_is_drawn_and_one_that_does_not_fit_is_warned_of(folder, tmp_path):
    frames = folder / "leg.frames.h5"
    assert mrf.match(frames, folder / "small.h5").truth is not None
    (tmp_path / "leg.frames.h5").symlink_to(frames)
    (tmp_path / "leg.truth.npz").write_bytes(b"PK\x03\x04 not a truth")
    with pytest.warns(UserWarning, match="ground truth is not shown: .*leg.truth.npz cannot be read"):
        assert mrf.match(tmp_path / "leg.frames.h5", folder / "small.h5").truth is None


def test_what_cannot_be_is_refused_in_a_line(folder):
    dictionary, frames = mrf.load_dictionary(folder / "small.h5"), mrf.load_frames(folder / "leg.frames.h5")
    array = frames.images[0]
    refusals = [
        (
            InputError,
            "small.h5 is a dictionary .* a raw scan or a frames file was expected",
            (folder / "small.h5",),
            {},
        ),
        (InputError, "none.h5 does not exist", ("none.h5",), {}),
        (ValueError, "There is no recon 'both'; choose nufft or subspace", (array,), {"recon": "both"}),
        (ValueError, "There is no method 'best'", (array,), {"method": "best"}),
        (ValueError, "There is no backend 'fft'", (array,), {"backend": "fft"}),
        (TypeError, "There is no option 'coils'; options of reconstruction are recon, backend", (array,), {"coils": 3}),
        (MismatchError, "holds frames; a subspace reconstruction needs the raw scan", (array,), {"recon": "subspace"}),
        (MismatchError, "holds frames; a joint reconstruction needs the raw scan", (array,), {"recon": "joint"}),
        (MismatchError, "holds frames; off-resonance is corrected in", (array,), {"field_map": folder / "by-command"}),
        (MismatchError, r"options of reconstruction \(noise\), or give the raw", (array,), {"noise": "edges"}),
        (ValueError, "scan has values that are not finite; give a mask", (np.where(np.eye(N), np.nan, array),), {}),
        (MismatchError, "holds frames; a subspace", (folder / "leg.frames.h5",), {"recon": "subspace"}),
        (TypeError, "A mask is only for frames given as an array", (frames,), {"mask": frames.mask[0]}),
        (TypeError, "Frames must be complex, not float32", (np.abs(array),), {}),
        (ValueError, "frames=175", (array[:9],), {}),
        (ValueError, "mask", (array,), {"mask": frames.mask[0, :9]}),
        (ValueError, r"mask has shape \(1, 32, 32\), expected \(y=32, x=32\)", (array,), {"mask": frames.mask}),
        (InputError, "frames holds no signal", (array,), {"mask": np.zeros((N, N), bool)}),
    ]
    for error, complaint, given, options in refusals:
        with pytest.raises(error, match=complaint) as caught:
            mrf.match(*given, dictionary, **options)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="There is no model 'ideal'"):
        mrf.simulate(dictionary.protocol, model="ideal")
    with pytest.raises(ValueError, match="mutually exclusive"):
        mrf.simulate(dictionary.protocol, rank=3, energy=0.9)
    with pytest.raises(KeyError, match="no map 'T2'; choose from FF, T1H2O"):
        mrf.match(frames, dictionary)["T2"]


def options_of(command: click.Command) -> dict[str, object]:
    """Options by name with their defaults: what has none is None, a flag without a counterpart False."""

    def default(option: click.Parameter) -> object:
        if isinstance(option.default, str | bool | int | float):
            return option.default
        return False if getattr(option, "is_flag", False) and not option.secondary_opts else None

    return {option.name: default(option) for option in command.params}


def test_defaults_are_those_of_the_command_line():
    """The values themselves are in one place; that each option reads its own is seen here."""

    def command(**_: object) -> None: ...

    imaging = options_of(click.command()(imaging_options.imaging_options(command)))
    expected = dataclasses.asdict(BEST)
    assert {name: imaging[name] for name in expected} == expected
    pairs = [
        (
            mrf.match,
            match.command,
            {"method": "method", "refined": "refine", "gap": "gap", "recon": "recon", "device": "device"},
        ),
        (mrf.reconstruct, reconstruct.command, {"precision": "precision"}),
        (mrf.simulate, simulate.command, {"protocol": "protocol", "model": "spoiling", "rank": "rank"}),
        (mrf.bounds, limit.command, {"snr": "snr", "model": "spoiling"}),
    ]
    for function, by_command, options in pairs:
        parameters, defaults = inspect.signature(function).parameters, options_of(by_command)
        for name, option in options.items():
            assert parameters[name].default == defaults[option], (function, name)


def test_bounds_of_many_voxels_are_in_the_units_of_files(folder):
    protocol, given = mrf.load_protocol(folder / "small.toml"), {"T1H2O": 1400, "FF": [0.2, 0.4]}
    points = points_of(protocol, given)
    assert points["T1H2O"].tolist() == [1.4, 1.4]
    assert points["B1"][0] == np.median(protocol.grid["B1"])
    found, expected = mrf.bounds(folder / "small.toml", given, snr=50), bounds(protocol, points, snr=50)
    for p in protocol.parameters:
        np.testing.assert_allclose(found[p.name], expected[p.name] * p.scale, rtol=1e-12)
    with pytest.raises(ValueError, match="model"):
        mrf.bounds(protocol, model="ideal")
    with pytest.raises(ValueError, match=r"^T1H2O of 1\.4 is far from the grid, .*; values are in ms\.$"):
        mrf.bounds(protocol, {"T1H2O": [1400, 1.4]})


def test_names_are_imported_when_they_are_asked_for():
    code = """if True:
        import sys, time
        began = time.perf_counter()
        import mrfpipe
        took = time.perf_counter() - began
        assert sorted(mrfpipe.__all__) == sorted(set(mrfpipe.__all__) & set(dir(mrfpipe)))
        heavy = [name for name in ("numpy", "torch", "click", "h5py") if name in sys.modules]
        mrfpipe.MrfpipeError
        print(took, heavy)"""
    times = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        took, _, heavy = done.stdout.strip().partition(" ")
        assert heavy == "[]"
        times.append(float(took))
    assert min(times) < 0.05


def test_every_public_name_is_there_and_typed_as_what_it_is():
    assert [*mrf.__all__] == sorted(mrf.__all__)
    tree = ast.parse(Path(mrf.__file__).read_text())
    (typed,) = (node for node in tree.body if isinstance(node, ast.If))
    homes = {alias.name: node.module for node in typed.body for alias in node.names}
    assert homes == {name: f"mrfpipe.{home}" for name, home in mrf._HOMES.items()}
    assert sorted(homes) == [*mrf.__all__]
    for name in mrf.__all__:
        assert getattr(mrf, name) is not None
    with pytest.raises(AttributeError, match="module 'mrfpipe' has no attribute 'nothing'"):
        mrf.nothing  # noqa: B018
