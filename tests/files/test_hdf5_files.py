import dataclasses
import random
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from mrfpipe.dictionary import Dictionary
from mrfpipe.errors import InputError, MrfpipeError
from mrfpipe.files.dictionaries import load_dictionary, save_dictionary
from mrfpipe.files.frames import StoredSeries, load_frames, read_frames_header, save_frames
from mrfpipe.files.maps import load_maps, read_maps_provenance, save_maps
from mrfpipe.files.schemas import schema_of
from mrfpipe.imaging.series import stack_slices
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.physics.simulate import SignalModel
from mrfpipe.protocol import Protocol, load_protocol

LOADERS = {"dictionary.h5": load_dictionary, "frames.h5": load_frames, "maps.h5": load_maps}
SCHEMAS = {name: f"mrfpipe-{name.removesuffix('.h5')}/2" for name in LOADERS}
CURES = {"dictionary.h5": "mrfpipe simulate", "frames.h5": "mrfpipe frames", "maps.h5": "mrfpipe match"}
WIDER = {"<c8": "<c16", "<f4": "<f8", "<f8": "<c16", "|u1": "<u2"}
each_kind = pytest.mark.parametrize("kind", LOADERS)


def arrays_of(value) -> dict[str, np.ndarray]:
    found = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    found |= dict(found.get("si", {})) | {f"component {i}": v for i, v in enumerate(found.get("components", ()))}
    return {name: v for name, v in found.items() if isinstance(v, np.ndarray)}


def assert_same(got, expected) -> None:
    ours, theirs = arrays_of(got), arrays_of(expected)
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        assert ours[name].dtype == array.dtype, name
        np.testing.assert_array_equal(ours[name], array, err_msg=name)


def assert_refused(load, path: Path, *words: str) -> None:
    with pytest.raises(InputError) as caught:
        load(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    for word in words:
        assert word in message


def test_dictionary_round_trip(saved, dictionary):
    got = load_dictionary(saved / "dictionary.h5")
    assert_same(got, dictionary)
    assert got.energy == dictionary.energy
    assert got.protocol.hash == dictionary.protocol.hash
    assert got.protocol.name == "t1ff-small"


def test_dictionary_keeps_its_signal_model(dictionary, tmp_path):
    model = SignalModel(spoiling="epg", slice_profile=True)
    save_dictionary(dataclasses.replace(dictionary, model=model), tmp_path / "d.h5")
    assert load_dictionary(tmp_path / "d.h5").model == model
    for name, value in (("model", "bssfp"), ("slice_profile", "maybe")):
        save_dictionary(dictionary, tmp_path / "d.h5", force=True)
        with h5py.File(tmp_path / "d.h5", "r+") as file:
            file.attrs[name] = value
        assert_refused(load_dictionary, tmp_path / "d.h5", repr(value), "make one with mrfpipe simulate")


def test_dictionary_file_says_what_it_holds(saved, dictionary):
    with h5py.File(saved / "dictionary.h5") as file:
        assert file.attrs["model"] == b"spoiled"
        assert file.attrs["protocol_hash"].decode() == dictionary.protocol.hash
        np.testing.assert_allclose(file["grid/T1H2O"][...], [600, 800, 1000, 1200, 1400, 1600])
        assert file["grid/T1H2O"].attrs["unit"] == b"ms"
        assert file["components/water"].attrs["axes"] == b"T1H2O df B1 rank"


def random_dictionary(protocol: Protocol, rank: int) -> Dictionary:
    rng, grid = np.random.default_rng(0), protocol.grid
    shared = (grid["df"].size, grid["B1"].size)

    def signals(*shape: int) -> np.ndarray:
        return rng.standard_normal((*shape, 2), np.float32).view(np.complex64)[..., 0]

    return Dictionary(
        components=(signals(grid["T1H2O"].size, *shared, rank), signals(grid["T1fat"].size, *shared, rank)),
        basis=signals(protocol.sequence.n_frames, rank),
        energy=0.99999,
        protocol=protocol,
        model=SignalModel(),
    )


def test_full_dictionary_loads_fast(tmp_path):
    save_dictionary(random_dictionary(load_protocol("t1ff"), rank=12), tmp_path / "d.h5")
    times = []
    for _ in range(3):
        start = time.perf_counter()
        load_dictionary(tmp_path / "d.h5")
        times.append(time.perf_counter() - start)
    assert min(times) < 0.3  # what users were promised; about 0.03 s on an idle machine


def test_frames_round_trip(saved, series):
    got = load_frames(saved / "frames.h5")
    assert_same(got, series)
    assert got.name == series.name
    assert got.sequence_hash == series.sequence_hash


def test_slices_are_read_one_by_one_each_in_its_place(saved, series):
    stored = StoredSeries(path=saved / "frames.h5", header=read_frames_header(saved / "frames.h5"))
    slices = list(stored)
    assert len(slices) == stored.n_slices == 2
    for s, one in enumerate(slices):
        np.testing.assert_array_equal(one.images[0], series.images[s])
        np.testing.assert_array_equal(one.mask[0], series.mask[s])
        # Its voxel (x, y, 0) is voxel (x, y, s) of the stack.
        np.testing.assert_allclose(one.affine @ [3, 2, 0, 1], series.affine @ [3, 2, s, 1])
    assert_same(stack_slices(slices, 2), series)
    with pytest.raises(ValueError, match="1 slices came instead of 2"):
        stack_slices(slices[:1], 2)


def test_a_slice_is_read_without_the_protocol_which_takes_longer_than_its_checks(saved, monkeypatch):
    stored = StoredSeries(path=saved / "frames.h5", header=read_frames_header(saved / "frames.h5"))
    monkeypatch.setattr("mrfpipe.files.source.parse_protocol", None)
    assert len(list(stored)) == 2


def test_frames_of_another_sequence_in_place_of_those_being_read_are_refused(saved):
    header = read_frames_header(saved / "frames.h5")
    other = dataclasses.replace(header, sequence_hash="another")
    with pytest.raises(InputError, match="replaced by frames of another sequence"):
        list(StoredSeries(path=saved / "frames.h5", header=other))


def test_frames_header_without_the_images(saved, series, protocol, provenance):
    header = read_frames_header(saved / "frames.h5")
    assert (header.n_slices, header.n_frames, header.matrix) == (2, 175, (5, 7))
    assert (header.name, header.sequence_hash) == ("scan", series.sequence_hash)
    assert header.protocol.hash == protocol.hash
    assert header.provenance == provenance


def test_frames_of_another_sequence_are_not_saved(tmp_path, series, protocol, provenance):
    other = dataclasses.replace(series, sequence_hash="0" * 64)
    with pytest.raises(ValueError, match="not of the sequence"):
        save_frames(other, tmp_path / "f.h5", protocol=protocol, provenance=lambda: provenance)
    assert not list(tmp_path.iterdir())


def test_maps_round_trip(saved, maps, provenance):
    got = load_maps(saved / "maps.h5")
    read = arrays_of(got)
    for name, array in arrays_of(maps).items():
        assert read[name].dtype == array.dtype
        np.testing.assert_allclose(read[name], array, rtol=3e-7, err_msg=name)  # two float32 roundings
    assert read_maps_provenance(saved / "maps.h5") == provenance


def test_maps_file_has_slices_y_x_in_file_units(saved, maps):
    with h5py.File(saved / "maps.h5") as file:
        for name in ("FF", "T1H2O", "T1fat", "df", "B1", "M0", "M0phase", "match", "gap", "edge", "mask"):
            assert file[name].shape == (2, 5, 7)
        assert file["T1H2O"][1, 3, 6] == pytest.approx(1000 * maps.si["T1H2O"][1, 3, 6])
        assert file["T1fat"][1, 3, 6] == pytest.approx(1000 * maps.si["T1fat"][1, 3, 6])
        assert file["df"][1, 3, 6] == maps.si["df"][1, 3, 6]
        assert [file[p.name].attrs["unit"].decode() for p in PARAMETERS] == ["1", "ms", "ms", "Hz", "1"]


@each_kind
def test_schema_is_told(saved, kind):
    assert schema_of(saved / kind) == SCHEMAS[kind]


def test_schema_of_anything_else_is_none(tmp_path):
    (tmp_path / "text").write_text("text")
    (tmp_path / "empty").write_text("")
    (tmp_path / "cut").write_bytes(b"\x89HDF\r\n\x1a\n")
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        file["dataset/xml"] = "<ismrmrdHeader/>"
    for name in ("text", "empty", "cut", "raw.h5", "absent", "."):
        assert schema_of(tmp_path / name) is None


@each_kind
def test_what_is_no_such_file_is_refused(saved, kind):
    load, cure = LOADERS[kind], CURES[kind]
    (saved / "empty").write_text("")
    (saved / "text").write_text("just text")
    with h5py.File(saved / "raw.h5", "w") as file:
        file["dataset/xml"] = "<ismrmrdHeader/>"
    assert_refused(load, saved / "absent.h5", "does not exist", cure)
    (saved / "folder").mkdir()
    assert_refused(load, saved / "folder", "is a folder", cure)
    assert_refused(load, saved, "is a result folder", cure)
    assert_refused(load, saved / "empty", "is empty", cure)
    assert_refused(load, saved / "text", "is of a kind that mrfpipe does not know", cure)
    assert_refused(load, saved / "raw.h5", "mrfpipe did not write", cure)
    assert_refused(load, saved / "text" / "below.h5", "cannot be read")


@pytest.mark.parametrize(("kind", "other"), [(a, b) for a in LOADERS for b in LOADERS if a != b])
def test_other_schema_is_refused(saved, kind, other):
    nouns = {"dictionary.h5": "a dictionary", "frames.h5": "a frames file", "maps.h5": "a maps file"}
    assert_refused(LOADERS[kind], saved / other, f"is {nouns[other]}", f", {nouns[kind]} was expected", CURES[kind])


def test_a_schema_of_another_version_is_named(saved):
    with h5py.File(saved / "maps.h5", "r+") as file:
        file.attrs["schema"] = "mrfpipe-maps/9"
    assert_refused(load_maps, saved / "maps.h5", "is a file of schema mrfpipe-maps/9, which this mrfpipe does not know")


@each_kind
def test_every_dataset_is_needed_in_its_shape_and_type(saved, kind):
    names: list[str] = []
    with h5py.File(saved / kind) as file:
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    content = (saved / kind).read_bytes()
    path = saved / "changed.h5"
    for name in names:
        for change in ("missing", "longer", "double", "flat"):
            path.write_bytes(content)
            with h5py.File(path, "r+") as file:
                array = file[name][...]
                del file[name]
                if change == "longer":
                    file[name] = np.concatenate([array, array])
                elif change == "double":
                    file[name] = array.astype(WIDER[array.dtype.str])
                elif change == "flat":
                    file[name] = array[..., None]
            if name == "gap" and change == "missing":  # the one map that is made only if asked for
                assert load_maps(path).gap is None
                continue
            assert_refused(LOADERS[kind], path, name if change == "missing" else "expected", CURES[kind])


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("dictionary.h5", "components/water", np.nan),
        ("dictionary.h5", "components/fat", np.inf),
        ("dictionary.h5", "components/water", 0.0),
        ("dictionary.h5", "grid/df", 5.0),
        ("frames.h5", "images", np.nan),
        ("frames.h5", "affine", np.nan),
        ("frames.h5", "mask", 2),
        ("maps.h5", "T1H2O", np.nan),
        ("maps.h5", "match", np.inf),
        ("maps.h5", "affine", np.inf),
        ("maps.h5", "mask", 7),
    ],
)
def test_impossible_values_are_refused(saved, kind, name, value):
    with h5py.File(saved / kind, "r+") as file:
        array = file[name][...]
        array[(-1, *(n // 2 for n in array.shape[1:])) if name != "T1H2O" else (1, 3, 6)] = value
        if name == "match":
            array[...] = value
        if value == 0 and name == "components/water":  # a signal all of whose coefficients are zero
            array[-1] = value
        file[name][...] = array
    assert_refused(LOADERS[kind], saved / kind, CURES[kind])


def test_values_are_finite_though_their_sum_is_not(tmp_path, series, protocol, provenance):
    """As large as float32 holds, they add up to infinity; with both signs, to no number."""
    largest = np.full_like(series.images, np.finfo(np.float32).max)
    largest[:, 1::2] *= -1
    save_frames(
        dataclasses.replace(series, images=largest), tmp_path / "f.h5", protocol=protocol, provenance=lambda: provenance
    )
    assert np.array_equal(load_frames(tmp_path / "f.h5").images, largest)
    for value in (np.nan, np.inf, -np.inf, complex(0, np.nan)):
        with h5py.File(tmp_path / "f.h5", "r+") as file:
            file["images"][0, 3, 1, 1] = value
        with pytest.raises(InputError, match="images has values that are not finite"):
            load_frames(tmp_path / "f.h5")


@pytest.mark.parametrize("kind", ["dictionary.h5", "frames.h5"])
def test_changed_protocol_is_refused(saved, kind):
    with h5py.File(saved / kind, "r+") as file:
        text = file.attrs["protocol_toml"].decode()
        file.attrs["protocol_toml"] = text.replace("duration_ms = 4200", "duration_ms = 4300")
    assert_refused(LOADERS[kind], saved / kind, "protocol 't1ff-small' does not have the hash", CURES[kind])
    with h5py.File(saved / kind, "r+") as file:
        file.attrs["protocol_toml"] = text.replace("duration_ms = 4200", "rest_ms = 4200")
    assert_refused(LOADERS[kind], saved / kind, "sequence[7].duration_ms", CURES[kind])


@each_kind
def test_every_attribute_is_needed(saved, kind):
    content = (saved / kind).read_bytes()
    with h5py.File(saved / kind) as file:
        needed = set(file.attrs) - {"mrfpipe_version", "model", "protocol_name"}
    if kind == "maps.h5":
        needed -= {"provenance"}  # maps can be read without it
    for name in needed:
        (saved / kind).write_bytes(content)
        with h5py.File(saved / kind, "r+") as file:
            del file.attrs[name]
        assert_refused(LOADERS[kind], saved / kind, CURES[kind])


@each_kind
def test_damage_is_refused_and_never_read_as_other_numbers(saved, kind):
    load, path = LOADERS[kind], saved / kind
    expected, content = load(path), path.read_bytes()
    rng = random.Random(0)
    n_refused = 0
    for i in range(100):
        damaged = bytearray(content)
        if i % 3 == 0:
            damaged = damaged[: rng.randrange(1, len(damaged))]
        else:
            damaged[rng.randrange(len(damaged) if i % 3 == 1 else 4096)] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        schema_of(path)
        try:
            got = load(path)
        except InputError as e:
            assert str(path) in str(e)
            assert "\n" not in str(e)
            n_refused += 1
        else:
            assert_same(got, expected)
    assert n_refused > 60


def test_large_provenance_is_kept(tmp_path, maps, provenance):
    large = dataclasses.replace(provenance, inputs={f"scans/{i}.h5": "0" * 64 for i in range(3000)})
    save_maps(maps, tmp_path / "maps.h5", large)
    assert read_maps_provenance(tmp_path / "maps.h5") == large


def test_saving_again_needs_force_and_gives_the_same_bytes(saved, maps, provenance, dictionary):
    for name, save in (
        ("maps.h5", lambda path, force: save_maps(maps, path, provenance, force=force)),
        ("dictionary.h5", lambda path, force: save_dictionary(dictionary, path, force=force)),
    ):
        before = (saved / name).read_bytes()
        with pytest.raises(MrfpipeError, match="--force"):
            save(saved / name, force=False)
        save(saved / name, force=True)
        assert (saved / name).read_bytes() == before
