"""Smooth random functions, and the disease that is drawn with them."""

import numpy as np
import pytest

from mrfpipe.phantom.anatomy import REGIONS
from mrfpipe.phantom.disease import SUSCEPTIBILITY, Traits, draw_severity, draw_tissue
from mrfpipe.phantom.waves import random_waves, squashed


@pytest.fixture
def square():
    return np.meshgrid(np.linspace(0, 2, 400), np.linspace(0, 2, 400))


def test_waves_have_unit_variance_and_blur_away(square):
    waves = random_waves(np.random.default_rng(0), 0.02, 0.05)
    value = waves(*square, 0.3)
    assert abs(value.mean()) < 0.05
    assert value.std() == pytest.approx(1.0, rel=0.1)
    assert waves(*square, 0.3, blur=0.01).std() < 0.5
    assert np.abs(waves(*square, 0.3, blur=0.1)).max() < 1e-3


def test_waves_are_longer_along_their_direction(square):
    along_x = random_waves(np.random.default_rng(0), 0.05, 0.05, n_waves=200, direction=0.0, stretch=4.0)
    gy, gx = np.gradient(along_x(*square, 0.0))
    assert 3 < gy.std() / gx.std() < 5


def test_squashed_keeps_the_middle_and_the_order():
    value = np.linspace(-50.0, 50.0, 101)
    bent = squashed(value, -10.0, 10.0)
    assert np.all(np.diff(bent) >= 0)
    assert np.abs(bent).max() <= 10
    np.testing.assert_allclose(bent[48:53], value[48:53], rtol=0.02)


def test_every_pattern_names_groups_that_exist():
    groups = {m.group for region in REGIONS.values() for m in region.template.muscles}
    for pattern in SUSCEPTIBILITY.values():
        assert set(pattern) <= groups
    for disease in ("BMD", "DMD", "IBM", "FSHD"):
        assert groups == set(SUSCEPTIBILITY[disease])


def test_severity_spans_health_and_loss():
    thigh = REGIONS["thigh"]
    people = np.array(
        [draw_severity(np.random.default_rng(seed), thigh.template, thigh.patterns)[0] for seed in range(60)]
    )
    assert people.shape == (60, len(thigh.template.muscles))
    assert 0 <= people.min() < people.max() <= 1
    assert people.mean(axis=1).min() < 0.1
    assert people.mean(axis=1).max() > 0.5


def test_more_severe_is_fatter():
    severity = np.linspace(0, 1, 6)
    ff = [m.ff for m in draw_tissue(np.random.default_rng(0), severity, Traits(pattern="patchy", stage=1.0)).muscles]
    assert np.all(np.diff(ff) > 0)
    assert ff[0] < 0.08
    assert ff[-1] > 0.85
