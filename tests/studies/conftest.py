"""Work of four small subjects and two networks, trained for two epochs, that the tests of all studies share."""

from dataclasses import replace

import pytest

from mrfpipe.studies.scale import SCALES, Architectures, Scale, Subsets
from mrfpipe.studies.search import Search
from mrfpipe.studies.work import WORK, Work

QUICK = ("proposed", "cohen")
"""Networks that are trained here; the others differ in `METHODS` alone, and take long on a CPU."""
_SMALL = SCALES["small"]
_PRESET = replace(_SMALL.stages["proposed"][0], n_epochs=2)
_TINY = Scale(
    protocol="t1ff-small",
    matrix=48,
    n_subjects=4,  # the first that has all three splits
    n_slices=1,
    n_coils=2,
    stages={name: (replace(_SMALL.stages[name][0], n_epochs=2),) for name in QUICK},
    search=Search(ranks=(None, 16), learning_rates=(3e-3,)),
    architectures=Architectures(
        receptive_fields=(1, 5), budgets=(60_000,), preset=replace(_SMALL.architectures.preset, n_epochs=1)
    ),
    subsets=Subsets(sizes=(1, 2), n_repeats=1, n_epochs=1),
    n_permuted=1,
    n_unseen=1,
)


@pytest.fixture(scope="session")
def tiny() -> Scale:
    return _TINY


@pytest.fixture(scope="session")
def studies(tmp_path_factory, tiny):
    """A folder of studies whose shared work has scans, matched maps and two networks."""
    folder = tmp_path_factory.mktemp("studies")
    work = Work(folder / WORK, tiny)
    work.prepare(work.scans.cohort.subjects)
    for network in QUICK:
        work.model(network)
    return folder


@pytest.fixture
def work(studies, tiny) -> Work:
    return Work(studies / WORK, tiny)
