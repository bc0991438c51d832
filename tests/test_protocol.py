import dataclasses
import re
from importlib import resources

import numpy as np
import pytest

from mrfpipe.errors import InputError
from mrfpipe.protocol import (
    Delay,
    Excitations,
    Grid,
    History,
    Inversion,
    Spoiling,
    T2Preparation,
    built_in_protocols,
    load_protocol,
    parse_protocol,
)
from mrfpipe.protocol.write import sequence_tables

SMALLEST = """
name = "smallest"
field_t = 1.5
[geometry]
matrix = 8
fov_mm = 200
slice_thickness_mm = 5
excitation_time_bandwidth = 4
[readout]
kind = "stored"
readouts_per_frame = 1
[[sequence]]
block = "excitations"
flip_deg = [10, 20, 30]
te_ms = 2
tr_ms = [5, 6, 7]
[parameters.T1]
quantity = "T1"
ranges = [[100, 1000, 100]]
[[components]]
name = "tissue"
t1 = "T1"
t2_ms = 50
"""


def t1ff_text() -> str:
    return (resources.files("mrfpipe.dictionaries") / "t1ff.toml").read_text()


def test_t1ff_is_the_papers_sequence_and_grid():
    protocol = load_protocol("t1ff")
    sequence, grid = protocol.sequence, protocol.grid
    assert (sequence.n_readouts, sequence.n_frames, sequence.n_samples) == (1400, 175, 700)
    assert list(grid) == ["FF", "T1H2O", "T1fat", "df", "B1"]
    assert grid.shape == (21, 114, 8, 25, 15)
    assert grid.n_entries == 7_182_000
    # Flip 5, 10, 5, 15, 5 degrees; the changes fall at frames 75, 100, 125 and 150.
    changes = np.flatnonzero(np.diff(sequence.flip) + np.diff(sequence.te)) + 1
    assert (changes / 8).tolist() == [75, 100, 125, 150]
    assert np.rad2deg(sequence.flip[[0, 600, 800, 1000, 1200]]) == pytest.approx([5, 10, 5, 15, 5])
    assert sequence.te[[0, 799, 800, 1199, 1200, 1399]] * 1e3 == pytest.approx([2.39, 2.39, 3.45, 3.45, 4.63, 4.63])
    assert sequence.tr - sequence.te == pytest.approx(1.13e-3)
    assert sequence.tr.sum() == pytest.approx(5.80, abs=5e-3)
    assert sequence.inversion_time == pytest.approx(8.32e-3)
    assert sequence.duration == pytest.approx(8.32e-3 + sequence.tr.sum() + 4.2)
    assert grid["T1H2O"][[0, 1, 105, 106, 113]] == pytest.approx([0.55, 0.56, 1.6, 1.65, 2.0])
    assert grid["B1"][[0, -1]] == pytest.approx([0.3, 1.0])


def test_blocks_are_in_order_and_trains_that_follow_each_other_are_one():
    inversion, wait, train, recovery = load_protocol("t1ff").sequence.blocks
    assert inversion == Inversion(efficiency=1.0)
    assert [block.duration for block in (wait, recovery)] == pytest.approx([0.00832, 4.2])
    assert isinstance(train, Excitations)
    assert train.flip.size == 1400


def test_parameters_know_their_quantity_and_where_they_count():
    protocol = load_protocol("t1ff")
    by_name = {p.name: p for p in protocol.parameters}
    assert {name: p.unit for name, p in by_name.items()} == {
        "FF": "1",
        "T1H2O": "ms",
        "T1fat": "ms",
        "df": "Hz",
        "B1": "1",
    }
    fats = {"FF": np.array([0.3, 0.7, 0.71])}
    assert by_name["T1H2O"].counts_where(fats).tolist() == [True, True, False]
    assert by_name["T1fat"].counts_where(fats).tolist() == [False, True, True]
    assert by_name["FF"].counts_where(fats).all()


def test_components_say_which_axes_are_their_own_and_which_are_shared():
    protocol = load_protocol("t1ff")
    water, fat = protocol.components
    assert (protocol.own_axes(water), protocol.own_axes(fat)) == (("T1H2O",), ("T1fat",))
    assert protocol.shared_axes == ("df", "B1")
    assert (protocol.share, protocol.off_resonance, protocol.b1) == ("FF", "df", "B1")
    smallest = parse_protocol(SMALLEST, "smallest")
    assert (smallest.share, smallest.off_resonance, smallest.b1, smallest.shared_axes) == (None, None, None, ())
    assert smallest.own_axes(smallest.components[0]) == ("T1",)


def test_small_protocol_has_the_same_train_and_another_grid():
    large, small = load_protocol("t1ff"), load_protocol("t1ff-small")
    assert large.sequence.hash == small.sequence.hash
    assert large.hash != small.hash
    assert 1_000 < small.grid.n_entries < 10_000


def test_hash_ignores_layout_and_follows_values():
    protocol = parse_protocol(t1ff_text(), "t1ff")
    relaid = re.sub(r"#.*", "", t1ff_text()).replace("te_ms = 2.39", "te_ms = 2.390")
    assert parse_protocol(relaid, "relaid").hash == protocol.hash
    words = t1ff_text().replace('title = "T1 of water"', "").replace("weight = 4.0", "weight = 1.0")
    assert parse_protocol(words, "words").hash == protocol.hash, "no value of a signal"
    changed = parse_protocol(t1ff_text().replace("te_ms = 2.39", "te_ms = 2.40"), "changed")
    assert changed.sequence.hash != protocol.sequence.hash
    for old, new in (('kind = "repeated"', 'kind = "equilibrium"'), ("t2_ms = 40.0", "t2_ms = 41.0")):
        changed = parse_protocol(t1ff_text().replace(old, new), "changed")
        assert changed.hash != protocol.hash
        assert changed.sequence.hash == protocol.sequence.hash


def test_a_sequence_is_written_once_however_often_its_hash_is_asked_for(monkeypatch):
    """A twentieth of a second each, for every slice."""
    protocol, written = load_protocol("t1ff-small"), []
    monkeypatch.setattr(
        "mrfpipe.protocol.sequence.sequence_tables",
        lambda sequence: written.append(sequence) or sequence_tables(sequence),
    )
    hashes = {protocol.sequence.hash, protocol.sequence.hash, protocol.hash, protocol.hash}
    assert (len(hashes), len(written)) == (2, 1)


def test_a_key_that_says_the_default_does_not_change_the_hash():
    plain = parse_protocol(SMALLEST, "plain")
    spelled = SMALLEST.replace(
        "te_ms = 2\n", "te_ms = 2\nphase_deg = 0\nrf_spoiling_increment_deg = 0\ndephasing_cycles = 1\n"
    )
    spelled = spelled.replace("[[sequence]]", '[history]\nkind = "repeated"\n[[sequence]]')
    assert parse_protocol(spelled, "spelled").hash == plain.hash
    assert parse_protocol(spelled.replace("cycles = 1", "cycles = 0"), "balanced").hash != plain.hash


def test_all_blocks_can_be_written_and_read_back():
    blocks = """
[[sequence]]
block = "inversion"
efficiency = 0.9
scales_with_b1 = true
[[sequence]]
block = "t2-preparation"
duration_ms = 40
[[sequence]]
block = "spoiling"
[[sequence]]
block = "delay"
duration_ms = 12.5
[[sequence]]
block = "excitations"
flip_deg = [10, 20, 30]
"""
    text = SMALLEST.replace('[[sequence]]\nblock = "excitations"\nflip_deg = [10, 20, 30]\n', blocks.lstrip())
    text = text.replace("te_ms = 2\n", "te_ms = 2\nphase_deg = [0, 90, 180]\nrf_spoiling_increment_deg = 117\n")
    text = text.replace("[geometry]", '[history]\nkind = "multislice"\nslices = 3\n[geometry]')
    protocol = parse_protocol(text, "blocks")
    inversion, preparation, spoiling, wait, train = protocol.sequence.blocks
    assert inversion == Inversion(efficiency=0.9, scales_with_b1=True)
    assert (preparation, spoiling, wait) == (T2Preparation(duration=0.04), Spoiling(), Delay(duration=0.0125))
    assert np.rad2deg(train.flip) == pytest.approx([10, 20, 30])
    assert np.rad2deg(train.phase) == pytest.approx([0, 90, 180])
    assert train.tr == pytest.approx([0.005, 0.006, 0.007])
    assert protocol.sequence.inversion_time == pytest.approx(0.0525)
    assert protocol.history == History(kind="multislice", slices=3)
    again = parse_protocol(protocol.toml, "again")
    assert (again.hash, again.toml) == (protocol.hash, protocol.toml)


def test_a_train_comes_from_a_file_of_columns(tmp_path):
    (tmp_path / "train.csv").write_text("flip_deg,te_ms,tr_ms\n10,2,5\n20,2,6\n30,2,7\n")
    lines = "flip_deg = [10, 20, 30]\nte_ms = 2\ntr_ms = [5, 6, 7]\n"
    (tmp_path / "mine.toml").write_text(SMALLEST.replace(lines, 'file = "train.csv"\n'))
    found = load_protocol(tmp_path / "mine.toml")
    assert found.hash == parse_protocol(SMALLEST, "lists").hash
    assert parse_protocol(found.toml, "text").hash == found.hash, "the text says it all without the file"
    (tmp_path / "train.csv").write_text("flip_deg,tr_ms\n10,5\n20,6\n30,7\n")
    (tmp_path / "beside.toml").write_text(SMALLEST.replace(lines, 'file = "train.csv"\nte_ms = 2\n'))
    assert load_protocol(tmp_path / "beside.toml").hash == found.hash
    (tmp_path / "beside.toml").write_text(SMALLEST.replace(lines, 'file = "train.csv"\nte_ms = 2\ntr_ms = 5\n'))
    with pytest.raises(
        InputError, match=r"sequence\[0\]\.tr_ms is also a column of 'train\.csv'; leave one of them out"
    ):
        load_protocol(tmp_path / "beside.toml")
    (tmp_path / "train.csv").write_text("flip_deg,te_ms,tr_ms\n10,2,x\n")
    with pytest.raises(InputError, match=r"sequence\[0\]\.file = 'train\.csv' is no file of numbers"):
        load_protocol(tmp_path / "mine.toml")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("matrix = 350", "", r"geometry\.matrix is missing"),
        ("matrix = 350", "matrix = 350.5", r"geometry\.matrix must be a whole number of at least 1, not 350\.5"),
        ("matrix = 350", "matrix = true", r"geometry\.matrix must be a whole number"),
        ("matrix = 350", "matrix = 350\nmatrx = 1", r"geometry\.matrx is not known here"),
        ("tr_ms = 3.52", "tr_ms = 2.0", r"sequence\[2\]\.tr_ms must be above te_ms, 2\.39 in readout 0, not 2"),
        (
            "te_ms = 2.39\ntr_ms = 3.52",
            "te_ms = 0.00239\ntr_ms = 0.00352",
            r"sequence\[2\]\.tr_ms must be at least 0\.1, not 0\.00352",
        ),
        ("fov_mm = 350.0", "fov_mm = 0.35", r"geometry\.fov_mm must be above 1, not 0\.35"),
        ("thickness_mm = 8.0", "thickness_mm = 0.008", r"geometry\.slice_thickness_mm must be above 0\.02, not 0\.008"),
        ("flip_deg = 15.0", "flip_deg = 390.0", r"sequence\[5\]\.flip_deg must be from 0 to 360"),
        ("flip_deg = 15.0", "flip_deg = nan", r"sequence\[5\]\.flip_deg must be a finite number"),
        ("flip_deg = 15.0", "flip_deg = [15.0, 16.0]", r"sequence\[5\]\.excitations have columns of 2 and 200 values"),
        ("readouts_per_frame = 8", "readouts_per_frame = 9", r"9 readouts a frame do not divide 1400 readouts"),
        (
            "subspace_rank = 6",
            "subspace_rank = 600",
            r"reconstruction\.subspace_rank must be at most 175, the number",
        ),
        ("oversampling = 2", "", r"readout\.oversampling is missing"),
        ("efficiency = 1.0", "efficiency = 1.1", r"sequence\[0\]\.efficiency must be from 0 to 1"),
        ('block = "inversion"', 'block = "saturation"', r"sequence\[0\]\.block must be one of inversion, t2-prep"),
        ("time_bandwidth = 4.0", "time_bandwidth = 0.0", r"geometry\.excitation_time_bandwidth must be above 0, not 0"),
        ("t2_ms = 40.0", 't2_ms = "40"', r"components\[0\]\.t2_ms must be a finite number, not '40'"),
        ('t1 = "T1H2O"', 't1 = "T1water"', r"Parameter T1H2O is no component's T1 or T2, nor their share"),
        ('share = "FF"', "", r"components must be one, or two of which the second has a share"),
        ("shifts_hz = [-101.1, ", "shifts_hz = [", r"components\[1\]\.shifts_hz has 5 peaks, amplitudes has 6"),
        ("amplitudes = [0.0586", "amplitudes = [0.5", r"components\[1\]\.amplitudes must be shares of one"),
        ("[[0.0, 1.0, 0.05]]", "[[0.0, 1.2, 0.05]]", r"parameters\.FF\.ranges must lie from 0 to 1"),
        ("[[-120, 120, 10]]", "[[-120, 125, 10]]", r"parameters\.df\.ranges has a range \[-120, 125, 10\] whose step"),
        ("[[-120, 120, 10]]", "[[120, -120, 10]]", r"parameters\.df\.ranges has a range .* that does not rise"),
        ("[[-120, 120, 10]]", "[-120, 120, 10]", r"parameters\.df\.ranges must be a list of ranges"),
        ("[1650, 2000, 50]", "[1600, 2000, 50]", r"parameters\.T1H2O\.ranges must rise from range to range"),
        ('quantity = "B1"', 'quantity = "B2"', r"parameters\.B1\.quantity must be one of T1, T2, fat-fraction"),
        ("FF <= 0.7", "FF < 0.7", r"parameters\.T1H2O\.counts_where = 'FF < 0.7' is not a condition"),
        ("FF <= 0.7", "FX <= 0.7", r"parameters\.T1H2O\.counts_where = 'FX <= 0.7' is not a condition"),
        ('kind = "repeated"', 'kind = "repeted"', r"history\.kind must be one of equilibrium, repeated, multislice"),
        ("[geometry]", "[geometry", r"not a TOML file"),
        ("[geometry]", "[tissue]\n[geometry]", r"is of an older mrfpipe"),
    ],
)
def test_a_bad_protocol_is_refused_by_key(old, new, complaint):
    assert old in t1ff_text()
    with pytest.raises(InputError, match=f"^mine.toml:? {complaint}"):
        parse_protocol(t1ff_text().replace(old, new), "mine.toml")


def test_protocols_are_found_by_name_and_by_path(tmp_path):
    assert {"t1ff", "t1ff-small"} <= set(built_in_protocols())
    (tmp_path / "mine.toml").write_text(t1ff_text())
    assert load_protocol(tmp_path / "mine.toml").hash == load_protocol("t1ff").hash
    with pytest.raises(InputError, match=r"'t1fff' is neither a file nor one of: .*t1ff, t1ff-small"):
        load_protocol("t1fff")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"cannot be read"):
        load_protocol(tmp_path / "binary.toml")


def test_axes_that_do_not_rise_are_refused():
    with pytest.raises(ValueError, match="Grid axis df must have values that rise"):
        Grid(axes={"df": np.array([2.0, 1.0])})


def test_values_cannot_be_changed():
    protocol = load_protocol("t1ff")
    with pytest.raises(ValueError, match="read-only"):
        protocol.sequence.te[0] = 1.0


def test_a_protocol_whose_values_are_replaced_says_so_in_its_text():
    """Otherwise a file that keeps text and hash could be written and never read."""
    known = load_protocol("t1ff-small")
    sequence = known.sequence.with_blocks(Inversion, efficiency=0.95)
    readout = dataclasses.replace(known.sequence.readout, angle_increment=np.pi / 3)
    uneven = np.array([0.1, 0.2, 0.3, 0.5, 1 / 1.3, 1.1])
    water, fat = known.components
    for changes in (
        {"sequence": sequence},
        {"sequence": dataclasses.replace(known.sequence, readout=readout)},
        {"components": (dataclasses.replace(water, t2=0.0311), fat)},
        {"grid": Grid(axes={**known.grid, "T1H2O": uneven})},
        {"name": 'with "quotes"'},
    ):
        changed = dataclasses.replace(known, **changes)
        again = parse_protocol(changed.toml, "again")
        assert (again.hash, again.name) == (changed.hash, changed.name)
        assert (changed.hash == known.hash) == ("name" in changes)
    assert "efficiency = 0.95" in dataclasses.replace(known, sequence=sequence).toml


@pytest.mark.parametrize("name", ["t1ff", "t1ff-small"])
def test_a_text_written_from_values_is_as_a_person_writes_it(name):
    known = load_protocol(name)
    original = (resources.files("mrfpipe.dictionaries") / f"{name}.toml").read_text()
    assert parse_protocol(known.toml, "written").hash == known.hash

    def numbers(text):
        bare = re.sub(r"#.*|^.*\".*$", "", text, flags=re.MULTILINE)
        return [float(number) for number in re.findall(r"(?<![\w.])-?\d[\d.]*", bare)]

    # The efficiency of 1 is a default.
    assert sorted([*numbers(known.toml), 1.0]) == sorted(numbers(original))


def test_t1_in_ms_is_refused():
    known = load_protocol("t1ff-small")
    for name in ("T1H2O", "T1fat"):
        with pytest.raises(ValueError, match=rf"^Grid axis {name} must lie from 1 to 100000 ms"):
            dataclasses.replace(known, grid=Grid(axes={**known.grid, name: np.array([600.0, 1400.0])}))
