"""Catalogue: the studies by name, with descriptions, and how they are run.

No study is imported before it runs, so that listing them is quick.
"""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mrfpipe.files.atomic import refuse_existing
from mrfpipe.progress import Progress

if TYPE_CHECKING:
    import torch

ScaleName = Literal["small", "paper"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """Description of a study for users."""

    about: str
    """What the study shows."""
    minutes: str
    """Approximate duration in min at small scale on two idle cores, in a folder without work of other studies."""
    outputs: tuple[str, ...]
    """Endings of the files it writes, which follow its name."""


def _study(about: str, minutes: str, *more: str) -> Study:
    return Study(about=about, minutes=minutes, outputs=(".csv", ".md", ".png", *more))


STUDIES = {
    "spoiling": Study(
        about="differences between the signal models, in signals and in maps, for RF phase increments of 0, 50 and 117 "
        "degrees, without and with slice profile",
        minutes="1",
        outputs=(".csv", ".png"),
    ),
    "assumptions": Study(
        about="errors of the maps of a scan that violates an assumption of the signal model: history, inversion, T2, "
        "T2*, slice profile, field strength",
        minutes="1",
        outputs=(".csv", ".md"),
    ),
    "table2": _study(
        "Table 2: the proposed network, four published networks with the same budget, and matching, compared with "
        "ground truth and with matching",
        "15",
        "-maps.png",
    ),
    "qualitative": _study("Fig. 3: maps of one patient, and their differences from matching", "4"),
    "agreement": _study(
        "Fig. 4: scatter and Bland-Altman plots of regional means, with bias and limits of agreement",
        "4",
        "-points.csv",
    ),
    "sharpness": _study("Fig. 5: high-frequency energy in the maps of every method", "4"),
    "receptive-field": _study("Fig. 6: networks with different receptive fields and numbers of parameters", "10"),
    "importance": _study("Fig. 7: permutation importance of each frame, plotted below the sequence", "7"),
    "training-size": _study("Fig. 8: the proposed network trained on fewer subjects", "8"),
    "generalization": _study(
        "Table 4 and Fig. 9: shoulder, abdomen and pelvis, with networks trained on thighs and legs", "6"
    ),
    "model": Study(
        about="not in the paper: errors, regions, lesions and standard deviations of the bundled network on unseen "
        "phantoms, next to the matching that it corrects",
        minutes="6",
        outputs=(".csv", ".md"),
    ),
}
"""All studies by name."""
BY_THEMSELVES = ("spoiling", "assumptions", "model")
"""Studies that share no work with others."""


def refuse_outputs(name: str, folder: Path, *, force: bool) -> None:
    """Refuse to run a study whose tables or figures exist already or cannot be written.

    Parameters and errors are those of `run_study`.
    """
    for ending in STUDIES[name].outputs:
        refuse_existing(folder / f"{name}{ending}", force=force)


def run_study(
    name: str,
    folder: Path,
    *,
    scale: ScaleName,
    seed: int,
    device: "torch.device",
    force: bool,
    progress: Progress,
) -> str:
    """Run a study.

    Parameters
    ----------
    name
        One of `STUDIES`.
    folder
        Folder for its table and figures; studies of the paper's networks share the content of ``work`` below it.
    scale
        ``small`` takes minutes on a CPU; ``paper`` is the size of the paper.
    seed
        Seed of all random draws.
    device
        Device to compute on.
    force
        Whether existing tables and figures are replaced; the content of ``work`` never is.
    progress
        Called in every stage.

    Returns
    -------
        The table as text.

    Raises
    ------
    OutputExistsError
        If a table or figure exists and `force` is not given.
    MismatchError
        If the folder holds work of other settings.
    ResourceError
        If the folder cannot be written to, the frames to train on do not fit into memory, or the disk is full.
    """
    refuse_outputs(name, folder, force=force)
    study: Any = import_module(f"mrfpipe.studies.{name.replace('-', '_')}")
    table: str
    if name in BY_THEMSELVES:
        table = study.run(folder, scale, seed=seed, device=device, progress=progress)
        return table
    from mrfpipe.studies.scale import SCALES
    from mrfpipe.studies.work import WORK, Work

    table = study.run(folder, Work(folder / WORK, SCALES[scale], seed=seed, device=device, progress=progress))
    return table
