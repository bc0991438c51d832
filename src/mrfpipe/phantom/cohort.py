"""A cohort like the paper's: patients with neuromuscular diseases, divided into training, validation and testing.

Balsiger et al., Med Image Anal 64:101741 (2020), Table 1, gives the number of subjects, of men and of thighs, and the
age, for every disease and split. A cohort of 164 has exactly these numbers; the seed determines the individuals.
Subject k of a seed is the same person in a cohort of any size: a smaller cohort is the beginning of a larger one, and
the splits keep their proportions throughout.
"""

from collections import Counter
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from mrfpipe.phantom.anatomy import ANATOMIES
from mrfpipe.phantom.disease import Traits
from mrfpipe.phantom.patient import draw_traits
from mrfpipe.phantom.tables import load_table
from mrfpipe.phantom.truth import Phantom
from mrfpipe.protocol import Sequence

UNSEEN_REGIONS = ("shoulder", "abdomen", "pelvis")


class Row(NamedTuple):
    """Subjects of one disease in one split."""

    n_subjects: int
    n_men: int
    n_thighs: int
    age: float
    """Mean in years."""
    age_spread: float
    """Standard deviation in years."""


TABLE_1 = {
    split: {disease: Row(*values) for disease, values in rows.items()}
    for split, rows in load_table("tables/cohort").items()
}
"""The paper's Table 1 by split and disease."""
SPLIT_SIZES = {split: sum(row.n_subjects for row in rows.values()) for split, rows in TABLE_1.items()}
PAPER_SIZE = sum(SPLIT_SIZES.values())
COLUMNS = ("subject", "split", "region", "disease", "age", "sex", "pattern", "stage", "seed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A patient: an entry in a table, and everything from which the anatomy is drawn."""

    name: str
    """Name for files and tables."""
    split: str
    """One of `SPLIT_SIZES`, or ``unseen``."""
    region: str
    """Region that is imaged, by its name in `mrfpipe.phantom.anatomy`."""
    disease: str
    """BMD, DMD, IBM or other."""
    age: float
    """In years."""
    sex: str
    """``F`` or ``M``."""
    traits: Traits
    """Manifestation of the disease, and build."""
    seed: int
    """Seed of the anatomy."""

    def phantom(self, *, matrix: int, fov: float, slice_spacing: float, n_slices: int = 5) -> Phantom:
        """Draw the subject's anatomy; parameters are those of `mrfpipe.phantom.anatomy.draw`."""
        return ANATOMIES[self.region](
            matrix=matrix, fov=fov, n_slices=n_slices, slice_spacing=slice_spacing, seed=self.seed, traits=self.traits
        )

    def as_scanned(self, sequence: Sequence, n_slices: int) -> Phantom:
        """Draw the anatomy in the geometry of a sequence, with gaps of half a slice thickness between slices."""
        spacing = 1.5 * sequence.slice_thickness
        return self.phantom(matrix=sequence.matrix, fov=sequence.fov, slice_spacing=spacing, n_slices=n_slices)

    def row(self) -> dict[str, str]:
        """Return the subject's line of a table, by the names of `COLUMNS`."""
        traits = self.traits
        values = (self.name, self.split, self.region, self.disease, f"{self.age:.1f}", self.sex)
        return dict(zip(COLUMNS, (*values, traits.pattern, f"{traits.stage:.3f}", str(self.seed)), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """Patients in a fixed order."""

    subjects: tuple[Subject, ...]
    """All of them."""

    def split(self, name: str) -> tuple[Subject, ...]:
        """Return the subjects of one split."""
        return tuple(subject for subject in self.subjects if subject.split == name)

    def csv(self) -> str:
        """Return the cohort as a CSV table with a header and one line per subject."""
        lines = [COLUMNS, *(tuple(subject.row().values()) for subject in self.subjects)]
        return "".join(",".join(line) + "\n" for line in lines)


def draw_cohort(n_subjects: int = PAPER_SIZE, *, seed: int) -> Cohort:
    """Draw a cohort of patients, with thighs or legs of each, in splits of 94 : 20 : 50 to within one subject.

    ValueError if `n_subjects` is less than 1.
    """
    if n_subjects < 1:
        raise ValueError(f"No cohort of {n_subjects} subjects; at least one is needed.")
    subjects: list[Subject] = []
    for block in range(-(-n_subjects // PAPER_SIZE)):
        subjects += _draw_block(block, seed)
    return Cohort(subjects=tuple(subjects[:n_subjects]))


def draw_unseen(n_subjects: int = 3, *, seed: int) -> tuple[Subject, ...]:
    """Draw patients whose shoulders, lower abdomen and pelvis are imaged, regions that are in no split.

    They differ from the people in the cohort of the same seed. Each person occurs once for every region.
    """
    rng = np.random.default_rng([seed, 1])
    subjects = []
    for number in range(n_subjects):
        disease = str(rng.choice(["BMD", "IBM", "other"]))
        row = TABLE_1["testing"][disease]
        man = bool(rng.random() < row.n_men / row.n_subjects)
        person = _draw_subject(rng, f"unseen-{number + 1:03d}", "unseen", disease, row, man=man, region="")
        subjects += [replace(person, name=f"{person.name}-{region}", region=region) for region in UNSEEN_REGIONS]
    return tuple(subjects)


def _draw_block(block: int, seed: int) -> list[Subject]:
    """Draw as many subjects as in the paper, ordered so that the splits keep their proportions throughout."""
    order, people = np.random.default_rng([seed, 0, block]).spawn(2)
    waiting = {}
    for split, rows in TABLE_1.items():
        cells = [
            (disease, row, bool(man), "thigh" if thigh else "leg")
            for disease, row in rows.items()
            for man, thigh in zip(
                order.permutation(row.n_subjects) < row.n_men,
                order.permutation(row.n_subjects) < row.n_thighs,
                strict=True,
            )
        ]
        waiting[split] = [cells[i] for i in order.permutation(len(cells))]
    subjects = []
    for i, split in enumerate(_split_order()):
        disease, row, man, region = waiting[split].pop()
        name = f"sub-{block * PAPER_SIZE + i + 1:03d}"
        subjects.append(_draw_subject(people, name, split, disease, row, man=man, region=region))
    return subjects


def _split_order() -> list[str]:
    """Split of each subject: always the one that is furthest behind its share."""
    order: list[str] = []
    taken: Counter[str] = Counter()
    for n in range(1, PAPER_SIZE + 1):
        behind = {split: n * size / PAPER_SIZE - taken[split] for split, size in SPLIT_SIZES.items()}
        order.append(max(behind, key=behind.__getitem__))
        taken[order[-1]] += 1
    return order


def _draw_subject(
    rng: np.random.Generator, name: str, split: str, disease: str, row: Row, *, man: bool, region: str
) -> Subject:
    own = rng.spawn(1)[0]
    youngest, oldest = (8.0, 18.0) if disease == "DMD" else (18.0, 85.0)
    age = float(np.clip(own.normal(row.age, row.age_spread), youngest, oldest))
    return Subject(
        name=name,
        split=split,
        region=region,
        disease=disease,
        age=age,
        sex="M" if man else "F",
        traits=draw_traits(own, disease, age, man=man),
        seed=int(own.integers(2**31)),
    )
