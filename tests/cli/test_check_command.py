"""A scan whose inversion scales with B1: `check` and `match` say so, and how the protocol is to be set."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import small_protocol

import mrfpipe as mrf
from mrfpipe.acquisition.raw import read_raw
from mrfpipe.errors import InputError
from mrfpipe.matching import check
from mrfpipe.physics.variants import Variant
from mrfpipe.protocol import Inversion
from mrfpipe.run import check as run_check

TOLD = "inversion of 180 degrees times B1"
REMEDY = "Set efficiency = 1 and scales_with_b1 = true in the block inversion"


@pytest.fixture(scope="module")
def scaled(tmp_path_factory, run):
    """The scan, the dictionary of an inversion that is full, and that of its own inversion."""
    folder = tmp_path_factory.mktemp("scaled")
    full = small_protocol(
        matrix=32,
        T1H2O="[[500, 2000, 100]]",
        T1fat="[[225, 375, 50]]",
        B1="[[0.3, 1.0, 0.1]]",
        df="[[-120, 120, 10]]",
    )
    own = replace(full, sequence=full.sequence.with_blocks(Inversion, scales_with_b1=True))
    for name, protocol in (("full", full), ("own", own)):
        (folder / f"{name}.toml").write_text(protocol.toml)
        run("simulate", folder / f"{name}.toml", "-o", folder / f"{name}.h5")
    run("phantom", folder / "thigh.h5", "--protocol", folder / "own.toml", "--coils", 2, "--seed", 1)
    return folder


def test_check_names_what_differs_and_how_to_set_it(run, scaled, monkeypatch):
    # Fewer values than it takes to tell a history, as phase graphs take a second for each ten thousand signals.
    monkeypatch.setattr(check, "VALUES", {"T1": 8, "B1": 5, "off-resonance": 9})
    told = run("check", scaled / "thigh.h5", "-d", scaled / "full.h5", "--no-delays").stdout
    found = mrf.check(scaled / "thigh.h5", str(scaled / "full.h5"), correct_delays=False)
    assert f"{found}\n" == told
    assert repr(found).startswith("<Check thigh: A variant explains the scan better than the protocol, by ")
    assert found.verdict.best.variant.inversion.scales_with_b1
    first, said, _, titles, *table = told.splitlines()
    assert first.startswith("thigh: slice 1 of 1, ")
    assert f"standard errors: {TOLD}. {REMEDY}; the maps change by (medians) FF -" in said
    assert titles.split() == [
        *("instead", "worse", "by", "(se)", "residual", "FF", "T1H2O", "(ms)", "T1fat", "(ms)", "df", "(Hz)", "B1"),
    ]
    rows = {row[: titles.index("  worse")].strip(): row[titles.index("  worse") :].split() for row in table}
    assert float(rows["as assumed"][0]) > check.CLEARLY
    # Less magnetisation than assumed is inverted at a B1 below 1, which the wrong protocol takes for a short T1.
    assert float(rows["as assumed"][3]) < -100


def test_the_slices_before_are_those_that_were_measured_before(scaled, monkeypatch):
    """The middle of three, which was measured first or last."""
    raw = read_raw(scaled / "thigh.h5", mrf.load_dictionary(scaled / "own.h5").protocol.sequence)
    asked = []

    def variants(_: Variant, before: int) -> list[Variant]:
        asked.append(before)
        raise KeyboardInterrupt

    monkeypatch.setattr(run_check, "variants_of", variants)
    for order in ([1, 0, 2], [0, 2, 1]):
        scan = replace(raw, kspace=np.repeat(raw.kspace, 3, axis=0), order=np.array(order))
        monkeypatch.setattr(run_check, "read_raw", lambda *_, scan=scan, **__: scan)
        with pytest.raises(KeyboardInterrupt):
            mrf.check(scaled / "thigh.h5", scaled / "own.h5")
    assert asked == [0, 2]


def test_match_warns_where_another_inversion_explains_more(scaled):
    with pytest.warns(UserWarning, match=TOLD) as said:
        mrf.match(scaled / "thigh.h5", mrf.load_dictionary(scaled / "full.h5"))
    (warning,) = (str(one.message) for one in said)
    assert f"{TOLD}. {REMEDY}" in warning
    assert "`mrfpipe check SCAN -d DICT.h5`" in warning


def test_match_warns_of_nothing_where_the_protocol_is_right(scaled):
    mrf.match(scaled / "thigh.h5", mrf.load_dictionary(scaled / "own.h5"))  # a warning would be an error


def test_a_file_that_is_no_raw_scan_is_refused(run, scaled):
    said = run("check", scaled / "own.h5", "-d", scaled / "full.h5", code=3).stderr
    assert "own.h5 is a dictionary of protocol t1ff-small, a raw scan was expected" in said
    with pytest.raises(InputError, match=r"own\.h5 is a dictionary of protocol t1ff-small, a raw scan was expected"):
        mrf.check(scaled / "own.h5", scaled / "full.h5")
    with pytest.raises(TypeError, match="in a subspace of its own; leave recon and field_map out"):
        mrf.check(scaled / "thigh.h5", scaled / "full.h5", recon="nufft")
    with pytest.raises(ValueError, match="There is no backend 'fft'"):
        mrf.check(scaled / "thigh.h5", scaled / "full.h5", backend="fft")
