"""Which variant of a protocol explains signals best, and what maps change by: found for each."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from helpers import complex_normal, small_protocol

from mrfpipe.arrays import Complex
from mrfpipe.dictionary import build_dictionary
from mrfpipe.matching import check
from mrfpipe.matching.check import CLEARLY, Changed, Explained, Simulated, Verdict, explain, judge, whitening
from mrfpipe.physics.simulate import SignalModel, fingerprints
from mrfpipe.physics.variants import Variant, inverted, variants_of
from mrfpipe.protocol import History
from mrfpipe.report.verdict import best_line


def called(variant: Variant) -> str:
    return ", ".join(setting.name for setting in variant.since(ASSUMED)) or "as assumed"


PROTOCOL = small_protocol(
    T1H2O="[[900, 2100, 100]]", T1fat="[[225, 375, 50]]", df="[[-70, 70, 10]]", B1="[[0.55, 1.0, 0.075]]"
)
ASSUMED = Variant(protocol=PROTOCOL, model=SignalModel())
N_VOXELS = 200
VARIANTS = {called(variant): variant for variant in (ASSUMED, *variants_of(ASSUMED, 2))}
QUICK = [name for name, variant in VARIANTS.items() if variant.model.spoiling == "spoiled"]
TOLD = ["as assumed", "inversion of 180 degrees times B1", "opposite sign of the phase", "slice profile"]
"""History and efficiency are found together, below."""
SIMULATED = Simulated()
TRUTH = {
    name: np.random.default_rng(0).permutation(np.linspace(low, high, N_VOXELS))
    for name, (low, high) in {
        "FF": (0.05, 0.6),
        "T1H2O": (1.0, 1.9),
        "T1fat": (0.25, 0.35),
        "df": (-60, 60),
        "B1": (0.6, 0.95),
    }.items()
}


@pytest.fixture(scope="module")
def basis() -> Iterator[Complex]:
    """The basis of all, while variants are simulated for this grid, which is as dense as that of wide ranges."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(check, "VALUES", {"T1": 13, "B1": 7, "off-resonance": 15})
        yield SIMULATED.basis(VARIANTS[name] for name in QUICK)


def signals(variant: Variant, basis: Complex, noise: float) -> Complex:
    """Coefficients of voxels, each with a phase of its own, with noise relative to the signals' norm."""
    rng = np.random.default_rng(1)
    made = fingerprints(variant.protocol, TRUTH, model=variant.model)
    made = made.conj() if variant.conjugated else made
    made = made * np.exp(2j * np.pi * rng.uniform(size=(N_VOXELS, 1))) / np.linalg.norm(made, axis=1, keepdims=True)
    coefficients = made @ basis.conj()
    return (coefficients + noise * complex_normal(rng, *coefficients.shape)).astype(np.complex64)


def verdict(coefficients: Complex, basis: Complex, assumed: Variant = ASSUMED) -> Verdict:
    return judge(
        assumed,
        lambda base: [one for one in variants_of(base, 2) if one.model.spoiling == "spoiled"],
        lambda variant: explain(coefficients, basis, variant, SIMULATED),
    )


@pytest.mark.parametrize("name", TOLD)
def test_each_variant_is_told_from_all_others(name, basis):
    found = verdict(signals(VARIANTS[name], basis, noise=5e-4), basis)
    assert found.best.variant.settings == VARIANTS[name].settings
    assert not found.undecided
    assert bool(found.changes) == (name != "as assumed")
    assert not found.changes or found.margin > CLEARLY
    # Noise of 5e-4 makes 10 ms of T1H2O in a voxel, about 1 ms in a median of 200; interpolation adds 3 ms.
    assert np.median(found.best.parameters["T1H2O"] - TRUTH["T1H2O"]) == pytest.approx(0, abs=6e-3)


def test_two_changes_are_found_one_after_the_other(basis):
    history = History(kind="multislice", slices=2)
    played = replace(ASSUMED, protocol=replace(inverted(PROTOCOL, efficiency=0.9), history=history))
    found = verdict(signals(played, basis, noise=5e-4), basis)
    assert found.best.variant.settings == played.settings
    assert [change.remedy for change in found.changes] == [
        'kind = "multislice", slices = 2 in [history]',
        "efficiency = 0.9 and scales_with_b1 = false in the block inversion",
    ]


def test_what_maps_change_by_has_the_sign_of_the_price(basis):
    """Less magnetisation than assumed is inverted: T1 of water was too short, and rises when that is set right."""
    coefficients = signals(VARIANTS["inversion efficiency 0.90"], basis, noise=5e-4)
    own, assumed = (
        explain(coefficients, basis, VARIANTS[name], SIMULATED) for name in ("inversion efficiency 0.90", "as assumed")
    )
    # `mrfpipe study assumptions` has -152 ms for this.
    assert 80 < own.change(assumed)["T1H2O"] < 250
    assert assumed.change(own)["T1H2O"] == pytest.approx(-own.change(assumed)["T1H2O"])


def test_noise_leaves_it_undecided(basis):
    """Histories differ by 1e-3 of a signal: with a fiftyfold of that in every coefficient, 200 voxels do not tell."""
    found = verdict(signals(VARIANTS["slices one after the other"], basis, noise=0.05), basis)
    assert not found.changes
    undecided = {called(one.variant) for one in found.undecided}
    assert "slices one after the other" in undecided
    # An inversion that leaves a fifth at the least B1 and more is told from the assumed one even so.
    assert "inversion of 180 degrees times B1" not in undecided


def test_another_inversion_changes_signals_of_phase_graphs_as_it_does_under_ideal_spoiling(basis):
    axes = {"T1H2O": "[[900, 2100, 100]]", "T1fat": "[[225, 375, 50]]", "df": "[[0, 0, 1]]", "B1": "[[0.55, 1, 0.075]]"}
    protocol, model = small_protocol(**axes), SignalModel(spoiling="epg")
    own, other = (Variant(protocol=p, model=model) for p in (protocol, inverted(protocol, efficiency=0.9)))
    dictionary = build_dictionary(protocol, model=model, energy=1 - 1e-9)
    changed = Changed(dictionary=dictionary, simulated=Simulated())
    for before, after, found in zip(Simulated()(own), Simulated()(other), changed(other), strict=True):
        # Of a change of 2 to 6 % of the signals, all but a hundredth.
        assert np.linalg.norm(found - after) < 0.03 * np.linalg.norm(after - before)


def test_margins_of_two_are_opposite(basis):
    coefficients = signals(ASSUMED, basis, noise=5e-3)
    one, other = (
        explain(coefficients, basis, VARIANTS[name], SIMULATED) for name in ("as assumed", "inversion efficiency 0.95")
    )
    assert one.margin(other) == pytest.approx(-other.margin(one))
    assert one.margin(one) == 0


def test_whitened_noise_is_white():
    rng = np.random.default_rng(0)
    mixing = np.eye(4) + 0.4 * complex_normal(rng, 4, 4)
    noise = (complex_normal(rng, 20000, 4) @ mixing.T).astype(np.complex64)
    white = noise @ whitening(noise).T
    # Of the readings that whitening was made of, but for float32.
    np.testing.assert_allclose(white.T @ white.conj() / len(white), np.eye(4), atol=1e-4)


def test_residual_is_in_units_of_noise_where_signals_are_whitened(basis):
    rng = np.random.default_rng(2)
    rank = basis.shape[1]
    mixing = 2e-3 * (np.eye(rank) + 0.3 * complex_normal(rng, rank, rank))
    noise = (complex_normal(rng, N_VOXELS, rank) @ mixing.T).astype(np.complex64)
    found = explain(signals(ASSUMED, basis, noise=0) + noise, basis, ASSUMED, SIMULATED, whitening(noise))
    # Each voxel has 2 rank real numbers of variance 1/2, of which five parameters and a complex scale explain seven;
    # the mean of 200 scatters by 1 / sqrt(200 (rank - 3.5)), below 3 %, and parameters do not use all their freedom.
    assert found.residual.mean() == pytest.approx(rank - 3.5, rel=0.15)


def test_variants_differ_from_their_base_in_one_setting():
    assert len({variant.settings for variant in VARIANTS.values()}) == len(VARIANTS) == 9
    for variant in list(VARIANTS.values())[::3]:
        others = list(variants_of(variant, 2))
        assert all(len(one.since(variant)) == 1 for one in others)
        assert (ASSUMED.settings in {one.settings for one in others}) != (variant is ASSUMED)
    alone = {called(variant) for variant in variants_of(ASSUMED, 0)}
    assert "sequence played once" in alone
    assert "slices one after the other" not in alone


def test_what_is_better_but_not_clearly_so_is_not_called_worse():
    """A variant that is 2 standard errors better than the protocol as it is."""
    other, rng = next(variants_of(ASSUMED, 2)), np.random.default_rng(0)
    assumed = Explained(variant=ASSUMED, parameters={}, residual=np.ones(400))
    for better, line in (
        (2, "No variant explains the scan clearly better than the protocol."),
        (-2, "The protocol explains the scan best."),
    ):
        spread = rng.standard_normal(400)
        log = (spread - spread.mean()) - better * spread.std() / np.sqrt(400)
        one = Explained(variant=other, parameters={}, residual=np.exp(log))
        assert 1 < np.sign(better) * one.margin(assumed) < CLEARLY
        verdict = Verdict(assumed=assumed, best=assumed, others=(one,))
        assert best_line(verdict) == line
        assert verdict.undecided == (one,)
