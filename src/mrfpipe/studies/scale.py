"""Scale: the size of the paper's studies, from minutes on a CPU to the original size."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from mrfpipe.learning.methods import METHODS
from mrfpipe.learning.presets import PRESETS, Preset
from mrfpipe.phantom.cohort import PAPER_SIZE
from mrfpipe.studies.search import Search, Stages


@dataclass(frozen=True, slots=True, kw_only=True)
class Architectures:
    """Networks of the receptive-field study: every receptive field with every budget."""

    receptive_fields: tuple[int, ...]
    """Voxels along y and along x."""
    budgets: tuple[int, ...]
    """Numbers of parameters."""
    preset: Preset
    """All other settings; steps of channels are lowered where a budget is too small for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subsets:
    """Trainings of the training-size study: several repeats for every number of subjects."""

    sizes: tuple[int, ...]
    """Numbers of subjects."""
    n_repeats: int
    """Number of random draws of subjects, each with a separate training."""
    n_epochs: int
    """Epochs with all training subjects; fewer subjects get more epochs in inverse proportion, so that all trainings
    have equally many steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How large the studies are."""

    protocol: str
    """Name of the protocol of the scans."""
    matrix: int
    """Voxels along x and along y."""
    n_subjects: int
    """Subjects; splits have 94 : 20 : 50 of them."""
    n_slices: int
    """Slices per subject."""
    n_coils: int
    """Receive coils."""
    stages: Mapping[str, Stages]
    """Stages of every network's training; a search, if there is one, replaces inputs and learning rates."""
    search: Search | None
    """Inputs and learning rates to try and choose from by the validation subjects; None to train as in `stages`."""
    architectures: Architectures
    """Networks that the receptive-field study trains."""
    subsets: Subsets
    """Trainings of the training-size study."""
    n_permuted: int
    """Number of test subjects whose frames are permuted."""
    n_unseen: int
    """Number of patients whose unseen regions are scanned."""

    def shared(self) -> dict[str, object]:
        """Return the settings, by name, on which the scans and networks that all studies share depend."""
        names = ("matrix", "n_subjects", "n_slices", "n_coils", "stages", "search")
        return {name: value for name, value in asdict(self).items() if name in names}


def _small_stages() -> dict[str, Stages]:
    """Return networks as published, except for the proposed one with fewer parameters, all trained on the same data.

    Each network makes 36 passes over the data, the one with two stages 18 in each, in steps of about 430 tissue voxels:
    12 patches of 8 x 8, which are small because batch normalisation subtracts the mean of a batch, or one patch of
    64 x 64 where the receptive field requires it. All maps have equal weight, and each counts where its parameter does.
    """

    def trained(preset: Preset, n_epochs: int = 36, patch_size: int = 8, batch_size: int = 12) -> Preset:
        return replace(
            preset,
            n_epochs=n_epochs,
            patch_size=patch_size,
            batch_size=batch_size,
            weighted=False,
            settled=0.0,
            only_where_counts=True,
        )

    features, unet = METHODS["fang"]
    return {
        # Frames are many more inputs than coefficients and need more parameters.
        "proposed": (trained(replace(PRESETS["small"], n_parameters=200_000)),),
        **{name: (trained(METHODS[name][0]),) for name in ("hoppe", "cohen", "oksuz")},
        "fang": (trained(features, 18), trained(unet, 18, patch_size=64, batch_size=1)),
    }


_SMALL = _small_stages()
SCALES = {
    "small": Scale(
        protocol="t1ff",
        matrix=72,
        n_subjects=28,
        n_slices=1,
        n_coils=4,
        stages=_SMALL,
        search=Search(ranks=(None, 16), learning_rates=(1e-3, 1e-2, 3e-3, 3e-4)),
        architectures=Architectures(
            receptive_fields=(1, 3, 5, 9),
            budgets=(60_000, 120_000),
            # One non-linearity for each of the four temporal and four spatial blocks of 9 x 9, and one more.
            preset=replace(_SMALL["proposed"][0], n_nonlinearities=9, n_epochs=50),
        ),
        subsets=Subsets(sizes=(2, 4, 8, 16), n_repeats=1, n_epochs=36),
        n_permuted=3,
        n_unseen=3,
    ),
    "paper": Scale(
        protocol="t1ff",
        matrix=350,
        n_subjects=PAPER_SIZE,
        n_slices=5,
        n_coils=8,
        stages=METHODS,
        search=None,
        architectures=Architectures(
            receptive_fields=tuple(range(1, 22, 2)),
            budgets=tuple(range(1_000_000, 5_000_001, 1_000_000)),
            preset=PRESETS["paper"],
        ),
        subsets=Subsets(sizes=(5, 15, 25, 40, 55, 70, 85, 94), n_repeats=5, n_epochs=PRESETS["paper"].n_epochs),
        n_permuted=50,
        n_unseen=3,
    ),
}
"""``small`` takes minutes on a CPU and has a smaller version of the proposed network. ``paper`` has the paper's numbers
of subjects, slices and epochs; it needs a GPU for days and about 100 GB of memory and of disk, and has not been run so
far. Its learning rates are those of the presets, not chosen by validation as in the paper."""
