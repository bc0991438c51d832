"""The architecture search against the paper's own configurations and a search that tries every start."""

from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrfpipe.learning.architecture import Architecture, build_architecture

built = partial(
    build_architecture,
    n_inputs=350,
    n_outputs=5,
    n_nonlinearities=21,
    spatial_stop=64,
    spatial_step=32,
    temporal_stop=32,
    temporal_step=32,
)
PAPER = {
    1: ((141,), (20,), (64,), 4_970_479),
    3: ((117,), (20,), (64,), 4_972_079),
    5: ((164, 132), (10, 9), (96, 64), 4_987_889),
    7: ((193, 161, 129), (6, 6, 6), (128, 96, 64), 4_987_480),
    9: ((197, 165, 133, 101), (5, 4, 4, 4), (160, 128, 96, 64), 5_004_644),
    11: ((195, 163, 131, 99, 67), (4, 3, 3, 3, 3), (192, 160, 128, 96, 64), 5_001_023),
    13: ((179, 147, 115, 83, 51, 32), (3, 3, 3, 2, 2, 2), (224, 192, 160, 128, 96, 64), 4_989_741),
    15: ((179, 147, 115, 83, 51, 32, 32), (2,) * 7, (256, 224, 192, 160, 128, 96, 64), 4_995_684),
}


@pytest.mark.parametrize("receptive_field", PAPER)
def test_configurations_of_the_paper(receptive_field):
    found = built(receptive_field=receptive_field, n_parameters=5_000_000)
    expected = PAPER[receptive_field]
    assert (found.temporal_channels, found.layers, found.spatial_channels, found.n_parameters) == expected
    assert found.n_nonlinearities == 21


def test_layers_are_shared_out_from_the_first_block_on():
    found = built(receptive_field=9, n_parameters=5_000_000, n_nonlinearities=14)
    assert found.layers == (3, 3, 2, 2)


@given(
    receptive_field=st.sampled_from([1, 3, 5, 9]),
    n_parameters=st.integers(60_000, 400_000),
    n_nonlinearities=st.integers(8, 12),
    temporal_step=st.integers(0, 20),
)
def test_no_start_comes_closer_to_the_budget(receptive_field, n_parameters, n_nonlinearities, temporal_step):
    found = built(
        receptive_field=receptive_field,
        n_parameters=n_parameters,
        n_inputs=32,
        n_nonlinearities=n_nonlinearities,
        spatial_stop=16,
        spatial_step=8,
        temporal_stop=4,
        temporal_step=temporal_step,
    )
    distances = []
    for start in range(1, 400):
        channels = tuple(max(start - i * temporal_step, 4) for i in range(len(found.layers)))
        distances.append(abs(replace(found, temporal_channels=channels).n_parameters - n_parameters))
    assert abs(found.n_parameters - n_parameters) == min(distances)


def test_budget_below_the_least_is_refused_with_what_it_takes():
    with pytest.raises(ValueError, match=r"at least 3,080,421 parameters, more than 1,000,000; .* lower spatial_stop"):
        built(receptive_field=15, n_parameters=1_000_000)
    least = built(receptive_field=15, n_parameters=3_080_421)
    assert least.temporal_channels == (32,) * 7
    assert built(receptive_field=15, n_parameters=1_000_000, spatial_step=4).n_parameters < 1_010_000


@pytest.mark.parametrize("receptive_field", [0, -1, 4])
def test_receptive_field_must_be_odd(receptive_field):
    with pytest.raises(ValueError, match="odd"):
        built(receptive_field=receptive_field, n_parameters=5_000_000)


def test_every_block_needs_a_layer():
    with pytest.raises(ValueError, match="at least 14 non-linearities"):
        built(receptive_field=15, n_parameters=5_000_000, n_nonlinearities=13)


def test_architecture_refuses_blocks_that_do_not_make_its_receptive_field():
    with pytest.raises(ValueError, match="needs 2 values of at least 1 in layers"):
        Architecture(
            receptive_field=5, n_inputs=4, n_outputs=5, layers=(1,), temporal_channels=(1,), spatial_channels=(1,)
        )


WITHIN = 0.011
"""Of the budget: half of what one channel more in each of the 19 layers of a 3 x 3 network costs at a million."""


@pytest.mark.parametrize("rank", [1, 6, 12])
@pytest.mark.parametrize("receptive_field", [1, 5, 15])
def test_coefficients_of_a_subspace_are_as_good_an_input_as_frames(receptive_field, rank):
    found = built(receptive_field=receptive_field, n_parameters=4_000_000, n_inputs=2 * rank)
    assert next(found.convolutions())[:2] == (1, 2 * rank)
    assert abs(found.n_parameters - 4_000_000) < WITHIN * 4_000_000


def test_input_without_channels_is_refused():
    with pytest.raises(ValueError, match="needs inputs and outputs, not 0 and 5"):
        built(receptive_field=3, n_parameters=100_000, n_inputs=0)


def test_margin_is_what_valid_convolutions_take_away():
    assert [built(receptive_field=r, n_parameters=5_000_000).margin for r in (1, 3, 15)] == [0, 1, 7]
