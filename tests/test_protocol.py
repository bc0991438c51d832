import dataclasses
import re
from importlib import resources

import numpy as np
import pytest

from mrfpipe.errors import InputError
from mrfpipe.protocol import Grid, built_in_protocols, load_protocol, parse_protocol


def t1ff_text() -> str:
    return (resources.files("mrfpipe.dictionaries") / "t1ff.toml").read_text()


def test_t1ff_is_the_papers_sequence_and_grid():
    protocol = load_protocol("t1ff")
    sequence, grid = protocol.sequence, protocol.grid
    assert (sequence.n_readouts, sequence.n_frames, sequence.n_samples) == (1400, 175, 700)
    assert grid.shape == (21, 114, 8, 25, 15)
    assert grid.n_entries == 7_182_000
    # Flip 5, 10, 5, 15, 5 degrees; the changes fall at frames 75, 100, 125 and 150.
    changes = np.flatnonzero(np.diff(sequence.flip) + np.diff(sequence.te)) + 1
    assert (changes / 8).tolist() == [75, 100, 125, 150]
    assert np.rad2deg(sequence.flip[[0, 600, 800, 1000, 1200]]) == pytest.approx([5, 10, 5, 15, 5])
    assert sequence.te[[0, 799, 800, 1199, 1200, 1399]] * 1e3 == pytest.approx([2.39, 2.39, 3.45, 3.45, 4.63, 4.63])
    assert sequence.tr - sequence.te == pytest.approx(1.13e-3)
    assert sequence.tr.sum() == pytest.approx(5.80, abs=5e-3)
    assert grid["T1H2O"][[0, 1, 105, 106, 113]] == pytest.approx([0.55, 0.56, 1.6, 1.65, 2.0])
    assert grid["B1"][[0, -1]] == pytest.approx([0.3, 1.0])


def test_small_protocol_has_the_same_train_and_another_grid():
    large, small = load_protocol("t1ff"), load_protocol("t1ff-small")
    assert large.sequence.hash == small.sequence.hash
    assert large.tissue.hash == small.tissue.hash
    assert large.hash != small.hash
    assert 1_000 < small.grid.n_entries < 10_000


def test_hash_ignores_layout_and_follows_values():
    protocol = parse_protocol(t1ff_text(), "t1ff")
    relaid = re.sub(r"#.*", "", t1ff_text()).replace("te_ms = 2.39", "te_ms = 2.390")
    assert parse_protocol(relaid, "relaid").hash == protocol.hash
    changed = parse_protocol(t1ff_text().replace("te_ms = 2.39", "te_ms = 2.40"), "changed")
    assert changed.hash != protocol.hash
    assert changed.sequence.hash != protocol.sequence.hash
    assert changed.grid.hash == protocol.grid.hash


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("matrix = 350", "", r"sequence\.matrix is missing"),
        ("matrix = 350", "matrix = 350.5", r"sequence\.matrix must be a whole number of at least 1, not 350\.5"),
        ("matrix = 350", "matrix = true", r"sequence\.matrix must be a whole number"),
        ("matrix = 350", "matrix = 350\nmatrx = 1", r"sequence\.matrx is not known here"),
        ("tr_ms = 3.52", "tr_ms = 2.0", r"sequence\.train\[0\]\.tr_ms must be above 2\.39, not 2"),
        ("flip_deg = 15.0", "flip_deg = 190.0", r"sequence\.train\[3\]\.flip_deg must be from 0 to 180"),
        ("flip_deg = 15.0", "flip_deg = nan", r"sequence\.train\[3\]\.flip_deg must be a finite number"),
        ("readouts_per_frame = 8", "readouts_per_frame = 9", r"sequence\.readouts_per_frame = 9 must divide 1400"),
        (
            "inversion_efficiency = 1.0",
            "inversion_efficiency = 1.1",
            r"sequence\.inversion_efficiency must be from 0 to 1",
        ),
        ("time_bandwidth = 4.0", "time_bandwidth = 0.0", r"sequence\.excitation_time_bandwidth must be above 0, not 0"),
        ("water_t2_ms = 40.0", 'water_t2_ms = "40"', r"tissue\.water_t2_ms must be a finite number, not '40'"),
        ("fat_shifts_hz = [-101.1, ", "fat_shifts_hz = [", r"tissue\.fat_shifts_hz has 5 peaks, fat_amplitudes has 6"),
        ("fat_amplitudes = [0.0586", "fat_amplitudes = [0.5", r"tissue\.fat_amplitudes must be shares of one"),
        ("[[0.0, 1.0, 0.05]]", "[[0.0, 1.2, 0.05]]", r"grid\.fat_fraction must lie from 0 to 1"),
        ("[[-120, 120, 10]]", "[[-120, 125, 10]]", r"grid\.df_hz has a range \[-120, 125, 10\] whose step"),
        ("[[-120, 120, 10]]", "[[120, -120, 10]]", r"grid\.df_hz has a range .* that does not rise"),
        ("[[-120, 120, 10]]", "[-120, 120, 10]", r"grid\.df_hz must be a list of ranges"),
        ("[1650, 2000, 50]", "[1600, 2000, 50]", r"grid\.t1_water_ms must rise from range to range"),
        ("[grid]", "[grid", r"not a TOML file"),
        ("[tissue]", "[tissues]", r"tissue is missing"),
    ],
)
def test_a_bad_protocol_is_refused_by_key(old, new, complaint):
    assert old in t1ff_text()
    with pytest.raises(InputError, match=f"^mine.toml: {complaint}"):
        parse_protocol(t1ff_text().replace(old, new), "mine.toml")


def test_protocols_are_found_by_name_and_by_path(tmp_path):
    assert built_in_protocols() == ["t1ff", "t1ff-small"]
    (tmp_path / "mine.toml").write_text(t1ff_text())
    assert load_protocol(tmp_path / "mine.toml").hash == load_protocol("t1ff").hash
    with pytest.raises(InputError, match=r"'t1fff' is neither a file nor one of: t1ff, t1ff-small"):
        load_protocol("t1fff")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"cannot be read"):
        load_protocol(tmp_path / "binary.toml")


def test_axes_that_do_not_rise_are_refused():
    axis = np.array([1.0, 2.0])
    with pytest.raises(ValueError, match="Grid axis df must have values that rise"):
        Grid(ff=axis, t1w=axis, t1f=axis, df=axis[::-1], b1=axis)


def test_values_cannot_be_changed():
    protocol = load_protocol("t1ff")
    with pytest.raises(ValueError, match="read-only"):
        protocol.sequence.te[0] = 1.0


def test_a_protocol_whose_values_are_replaced_says_so_in_its_text(tmp_path):
    """Otherwise a file that keeps text and hash could be written and never read."""
    known = load_protocol("t1ff-small")
    assert parse_protocol(known.toml, "known").toml == known.toml == load_protocol("t1ff-small").toml
    assert "# Six fat peaks" in known.toml, "as long as it says the same, a text stays as it was written"
    sequence = dataclasses.replace(known.sequence, te=known.sequence.te * 1.01, angle_increment=np.pi / 3)
    t1w = np.array([0.1, 0.2, 0.3, 0.5, 1 / 1.3, 1.1])
    for changes in (
        {"sequence": sequence},
        {"tissue": dataclasses.replace(known.tissue, t2_water=0.0311)},
        {"grid": dataclasses.replace(known.grid, t1w=t1w)},
        {"name": 'with "quotes"'},
        {"toml": "text = 'of nothing'"},
    ):
        changed = dataclasses.replace(known, **changes)
        again = parse_protocol(changed.toml, "again")
        assert (again.hash, again.name) == (changed.hash, changed.name)
        assert (changed.hash == known.hash) == bool({"name", "toml"} & set(changes))
    assert "te_ms = 2.4139" in dataclasses.replace(known, sequence=sequence).toml


@pytest.mark.parametrize("name", ["t1ff", "t1ff-small"])
def test_a_text_written_from_values_is_as_a_person_writes_it(name):
    known = load_protocol(name)
    written = dataclasses.replace(known, toml="")
    assert written.hash == known.hash

    def numbers(text):
        bare = re.sub(r"#.*|^.*\".*$", "", text, flags=re.MULTILINE)
        return [float(number) for number in re.findall(r"(?<![\w.])-?\d[\d.]*", bare)]

    assert sorted(numbers(written.toml)) == sorted(numbers(known.toml))


def test_t1_in_ms_is_refused_by_its_unit():
    known = load_protocol("t1ff-small").grid
    with pytest.raises(ValueError, match=r"^Grid axis t1w goes to 1400 s, and no T1 does; give it in s, not in ms\.$"):
        dataclasses.replace(known, t1w=np.array([600.0, 1400.0]))
    with pytest.raises(ValueError, match="Grid axis t1f goes to 300 s"):
        dataclasses.replace(known, t1f=np.array([300.0]))
