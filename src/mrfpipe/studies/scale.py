"""Scale: how large the studies of the paper are, from minutes on a CPU to the paper's own size."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from mrfpipe.learning.methods import METHODS
from mrfpipe.learning.presets import PRESETS, Preset
from mrfpipe.phantom.cohort import PAPER_SIZE
from mrfpipe.studies.search import Search, Stages


@dataclass(frozen=True, slots=True, kw_only=True)
class Architectures:
    """Networks of the study of the receptive field: every receptive field with every budget."""

    receptive_fields: tuple[int, ...]
    """Voxels along y and along x."""
    budgets: tuple[int, ...]
    """Numbers of parameters."""
    preset: Preset
    """All else about them; steps of channels are lowered where a budget is too small for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subsets:
    """Trainings of the study of the training's size: every number of subjects so many times."""

    sizes: tuple[int, ...]
    """Numbers of subjects."""
    n_repeats: int
    """Draws of subjects, each with a training of its own."""
    n_epochs: int
    """Epochs with all training subjects; with fewer in inverse proportion more, so that all take as many steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How large the studies are."""

    protocol: str
    """Name of the protocol that is scanned by."""
    matrix: int
    """Voxels along x and along y."""
    n_subjects: int
    """Subjects; splits have 94 : 20 : 50 of them."""
    n_slices: int
    """Slices of each."""
    n_coils: int
    """Receive coils."""
    stages: Mapping[str, Stages]
    """Stages of every network's training; inputs and learning rates are the search's if there is one."""
    search: Search | None
    """What of them is tried, to choose by the validation subjects; None to train them as they are."""
    architectures: Architectures
    """What the study of the receptive field trains."""
    subsets: Subsets
    """What the study of the training's size trains."""
    n_permuted: int
    """Test subjects whose frames are permuted."""
    n_unseen: int
    """Patients whose unseen regions are scanned."""

    def shared(self) -> dict[str, object]:
        """Return what the scans and networks that all studies share depend on, by name."""
        names = ("matrix", "n_subjects", "n_slices", "n_coils", "stages", "search")
        return {name: value for name, value in asdict(self).items() if name in names}


def _small_stages() -> dict[str, Stages]:
    """Networks as published but the proposed, which has fewer parameters; all learn the same and go through as much.

    Every one goes through the data 36 times, that of two stages 18 times in each, in steps of about 430 voxels of
    tissue: 12 patches of 8 x 8, small since batch normalisation takes the mean out of a batch, or one of 64 x 64 where
    the receptive field wants it. All maps weigh alike, and each counts where its parameter does.
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
        # Frames are many more inputs than coefficients, and want more parameters.
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
            # Nine non-linearities are the fewest of which four blocks, of 9 x 9, have a layer each and one is left.
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
"""``small``: minutes on a CPU, with a smaller network in the place of the proposed; ``paper``: the paper's numbers of
subjects, slices and epochs, for a GPU and days, with about 100 GB of memory and of disk, and never run so far. Its
learning rates are not chosen by validation as in the paper, but the presets'."""
