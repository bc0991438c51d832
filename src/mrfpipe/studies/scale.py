"""Scale: how large the studies of the paper are, from minutes on a CPU to the paper's own size."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from mrfpipe.learning.methods import METHODS
from mrfpipe.learning.presets import PRESETS, Preset
from mrfpipe.phantom.cohort import PAPER_SIZE


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
    stages: Mapping[str, tuple[Preset, ...]]
    """Stages of every network's training."""
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
        names = ("matrix", "n_subjects", "n_slices", "n_coils", "stages")
        return {name: value for name, value in asdict(self).items() if name in names}


def _small_stages() -> dict[str, tuple[Preset, ...]]:
    """Networks as published but the proposed, trained for minutes.

    Fingerprints come as patches of 4 x 4, which are cut faster than one by one; 8 of them are a batch of 128. The
    recurrent network and the U-Net take long on a CPU, so that they go through the data less often than the others.
    """

    def by_fingerprint(name: str, n_epochs: int) -> Preset:
        return replace(METHODS[name][0], patch_size=4, batch_size=8, n_epochs=n_epochs)

    return {
        "proposed": (replace(PRESETS["small"], batch_size=32, n_epochs=120),),
        "hoppe": (by_fingerprint("hoppe", 12),),
        "cohen": (by_fingerprint("cohen", 12),),
        "oksuz": (by_fingerprint("oksuz", 2),),
        "fang": (by_fingerprint("fang", 12), replace(METHODS["fang"][1], batch_size=4, n_epochs=24)),
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
        architectures=Architectures(
            receptive_fields=(1, 3, 5, 9),
            budgets=(60_000, 120_000),
            # Nine non-linearities are the fewest of which four blocks, of 9 x 9, have a layer each and one is left.
            preset=replace(_SMALL["proposed"][0], n_nonlinearities=9, n_epochs=50),
        ),
        subsets=Subsets(sizes=(2, 4, 8, 16), n_repeats=1, n_epochs=120),
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
"""``small``: minutes on a CPU, with the small network in the place of the proposed; ``paper``: the paper's numbers of
subjects, slices and epochs, for a GPU and days, with about 100 GB of memory and of disk, and never run so far. The
learning rate is not chosen by validation as in the paper, but the preset's."""
