"""The cohort: the paper's Table 1 in numbers, and the same person always."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from mrfpipe.phantom.anatomy import ANATOMIES
from mrfpipe.phantom.cohort import UNSEEN_REGIONS, draw_cohort, draw_unseen
from mrfpipe.phantom.truth import PARAMETERS

SMALL = {"matrix": 64, "fov": 0.35, "slice_spacing": 0.012}
SIZES = {"training": 94, "validation": 20, "testing": 50}


@pytest.fixture(scope="module")
def cohort():
    return draw_cohort(seed=0)


def test_has_the_numbers_of_the_papers_table(cohort):
    subjects = cohort.subjects
    assert {split: len(cohort.split(split)) for split in SIZES} == SIZES
    assert sum(s.sex == "M" for s in subjects) == 93
    assert sum(s.region == "thigh" for s in subjects) == 91
    assert {s.region for s in subjects} == {"thigh", "leg"}
    for disease, n, n_men, n_thighs in (
        ("BMD", 19, 19, 19),
        ("DMD", 25, 25, 12),
        ("IBM", 70, 30, 34),
        ("other", 50, 19, 26),
    ):
        of_disease = [s for s in subjects if s.disease == disease]
        assert len(of_disease) == n
        assert sum(s.sex == "M" for s in of_disease) == n_men
        assert sum(s.region == "thigh" for s in of_disease) == n_thighs
    testing = [s for s in cohort.split("testing") if s.disease == "IBM"]
    assert (len(testing), sum(s.sex == "M" for s in testing), sum(s.region == "thigh" for s in testing)) == (24, 10, 14)


def test_ages_are_those_of_the_diseases(cohort):
    for disease, mean, spread in (("BMD", 45.4, 15.0), ("DMD", 12.4, 2.2), ("IBM", 64.5, 9.6), ("other", 46.9, 14.4)):
        ages = [s.age for s in cohort.subjects if s.disease == disease]
        assert abs(np.mean(ages) - mean) < 4 * spread / np.sqrt(len(ages))
        assert 0.5 * spread < np.std(ages) < 1.5 * spread
    assert all(8 <= s.age <= 85 for s in cohort.subjects)


@pytest.mark.parametrize("n_subjects", [1, 3, 8, 33, 200, 328])
def test_a_smaller_cohort_is_the_beginning_of_a_larger_one(n_subjects):
    some, many = draw_cohort(n_subjects, seed=3), draw_cohort(330, seed=3)
    assert some.subjects == many.subjects[:n_subjects]
    assert len({s.name for s in some.subjects}) == len({s.seed for s in some.subjects}) == n_subjects
    for split, size in SIZES.items():
        assert abs(len(some.split(split)) - n_subjects * size / 164) < 1


def test_another_seed_is_another_cohort(cohort):
    other = draw_cohort(seed=1)
    assert not {s.seed for s in other.subjects} & {s.seed for s in cohort.subjects}
    assert [s.disease for s in other.subjects] != [s.disease for s in cohort.subjects]


def test_the_table_is_csv_with_a_line_a_subject(cohort):
    rows = list(csv.DictReader(io.StringIO(cohort.csv())))
    assert len(rows) == 164
    assert rows[5]["subject"] == cohort.subjects[5].name == "sub-006"
    assert float(rows[5]["age"]) == pytest.approx(cohort.subjects[5].age, abs=0.05)
    assert all(None not in row and None not in row.values() for row in rows)


def test_a_subject_is_the_same_person_at_any_time():
    first, again = (draw_cohort(5, seed=2).subjects[4].phantom(n_slices=1, **SMALL) for _ in range(2))
    np.testing.assert_array_equal(first.maps.si["FF"], again.maps.si["FF"])
    np.testing.assert_array_equal(first.rois, again.rois)
    assert draw_cohort(1, seed=2).subjects[0].phantom(**SMALL).maps.mask.shape == (5, 64, 64)


def test_boys_are_small_and_the_disease_shows(cohort):
    boy = min((s for s in cohort.subjects if s.disease == "DMD" and s.region == "leg"), key=lambda s: s.age)
    man = replace(boy, traits=replace(boy.traits, growth=1.0))
    assert boy.phantom(n_slices=1, **SMALL).maps.mask.sum() < 0.85 * man.phantom(n_slices=1, **SMALL).maps.mask.sum()

    def ff(subject):
        phantom = subject.phantom(n_slices=1, **SMALL)
        return phantom.maps.si["FF"][phantom.rois > 0].mean()

    early, late = (replace(boy, traits=replace(boy.traits, stage=stage)) for stage in (0.05, 1.0))
    assert ff(early) < 0.12
    assert ff(late) > 0.45


def test_every_subject_can_be_used(cohort):
    for subject in cohort.subjects[::8]:
        phantom = subject.phantom(matrix=96, fov=0.35, slice_spacing=0.012, n_slices=1)
        assert phantom.maps.mask.any()
        assert (phantom.rois > 0).sum() > 100
        for parameter in PARAMETERS:
            assert np.isfinite(phantom.maps.si[parameter.name][phantom.maps.mask]).all()


def test_unseen_patients_have_all_unseen_regions():
    unseen, cohort = draw_unseen(3, seed=0), draw_cohort(seed=0)
    assert [s.region for s in unseen] == 3 * list(UNSEEN_REGIONS)
    assert not {s.seed for s in unseen} & {s.seed for s in cohort.subjects}
    assert set(UNSEEN_REGIONS) <= set(ANATOMIES)
    assert {s.split for s in unseen} == {"unseen"}
    assert len({s.name for s in unseen}) == 9


def test_refuses_an_empty_cohort():
    with pytest.raises(ValueError, match="at least one"):
        draw_cohort(0, seed=0)
