import re

import numpy as np
import pytest

from mrfpipe.limit import bounds
from mrfpipe.protocol import load_protocol

T1FF = load_protocol("t1ff")


def tables(text: str) -> list[dict[str, list[str]]]:
    """The rows of each point by their heading."""
    blocks = (block.splitlines()[1:] for block in text.strip().split("\n\n")[1:])
    return [{row[0]: row[1:] for row in (re.split(r"  +", line) for line in block)} for block in blocks]


def test_table_has_the_bounds_in_the_units_of_files(run):
    text = run("limit", "t1ff", "--at", "T1H2O=1400,FF=0.2", "--at", "FF=0", "--snr", 50).stdout
    assert text.splitlines()[0] == "t1ff, spoiled: 1400 readouts in 10.01 s, SNR 50 of a readout"
    first, second = tables(text)
    at = {"FF": 0.2, "T1H2O": 1.4, "T1fat": 0.3125, "df": 0.0, "B1": 0.65}
    expected = bounds(T1FF, {name: np.array([value]) for name, value in at.items()}, snr=50)
    assert list(first) == [p.heading for p in T1FF.parameters]
    for p in T1FF.parameters:
        place, bound, per_second = first[p.heading]
        assert float(bound) == pytest.approx(expected[p.name][0] * p.scale, rel=5e-3)  # three digits
        assert float(per_second) == pytest.approx(float(bound) * T1FF.sequence.duration**0.5, rel=1e-2)
        assert place.endswith("(middle)") == (p.name not in ("T1H2O", "FF"))
    assert first["T1H2O (ms)"][0] == "1400"
    assert second["T1fat (ms)"][1:] == ["cannot be told", "cannot be told"]


def test_figure_and_the_model_asked_for(run, tmp_path):
    figure = tmp_path / "limit.png"
    result = run("limit", "fisp", "--at", "T1=900", "--model", "spoiled", "-o", figure)
    assert result.stdout.startswith("fisp, spoiled: 500 readouts")
    assert "cannot be told" in result.stdout  # ideally spoiled signals know nothing of T2
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert "exists already" in run("limit", "fisp", "-o", figure, code=5).stderr


@pytest.mark.parametrize(
    ("at", "complaint"),
    [
        ("T2=40", "protocol 't1ff' has no parameter 'T2'; it has FF, T1H2O, T1fat, df, B1."),
        ("FF", "'FF' is not of the form NAME=VALUE,..."),
        ("FF=much", "'FF=much' is not of the form"),
        ("FF=20", "FF must lie from 0 to 1."),
        ("T1H2O=nan", "T1H2O (ms) must lie from 1 to 100000."),
    ],
)
def test_points_that_there_are_not(run, at, complaint):
    assert complaint in " ".join(run("limit", "t1ff", "--at", at, code=2).stderr.split())
