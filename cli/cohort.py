"""``mrfpipe cohort``: raw scans of many phantoms, drawn like the patients of the paper."""

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

from .options import Settings, common_options, seed_option
from .paths import Place, protocol_option
from .phantom import truth_beside, write_scan

if TYPE_CHECKING:
    from mrfpipe.protocol import Protocol


@click.command()
@click.argument("folder", type=Place(folder=True), metavar="DIR")
@click.option("--subjects", type=click.IntRange(1, 10_000), default=164, show_default=True, help="Number of subjects.")
@click.option(
    "--unseen", is_flag=True, help="Draw subjects with three scans each instead: shoulder, abdomen and pelvis."
)
@click.option("--slices", type=click.IntRange(1, 100), default=5, show_default=True, help="Slices per scan.")
@click.option("--coils", type=click.IntRange(1, 128), default=8, show_default=True, help="Receive coils.")
@protocol_option()
@seed_option
@common_options
def command(
    settings: Settings, folder: Path, subjects: int, unseen: bool, slices: int, coils: int, protocol: "Protocol"
) -> None:
    """Simulate the raw scans of a cohort of phantoms and write each to DIR/SUBJECT.h5, next to its ground truth.

    Diseases, ages, sexes, regions and the split into training, validation and test follow Table 1 of Balsiger et al.
    (2020); DIR/cohort.csv has one row per subject. A subject does not depend on the number of subjects. Existing scans
    are kept, so that an interrupted run continues where it stopped.

    Example: mrfpipe cohort cohort --subjects 3 --slices 1
    """
    from mrfpipe.errors import OutputExistsError
    from mrfpipe.files.atomic import write_text
    from mrfpipe.phantom.cohort import Cohort, draw_cohort, draw_unseen
    from mrfpipe.phantom.scanner import scan

    if unseen:
        cohort = Cohort(subjects=draw_unseen(subjects, seed=settings.seed))
    else:
        cohort = draw_cohort(subjects, seed=settings.seed)
    table, rows = folder / "cohort.csv", cohort.csv()
    known = table.read_text(encoding="utf-8") if table.exists() else ""
    if not known.startswith(rows):  # rows of further subjects, whose scans exist, are kept
        if not rows.startswith(known) and not settings.force:
            raise OutputExistsError(f"{table} lists other subjects; choose another folder, or replace it with --force.")
        write_text(table, rows)
    progress, done, n_made = settings.progress("scan"), 0, 0
    try:
        for subject in cohort.subjects:
            path = folder / f"{subject.name}.h5"
            if settings.force or not (truth_beside(path).exists() and _is_made(path, protocol, slices, coils)):
                phantom = subject.as_scanned(protocol.sequence, slices)
                raw = scan(phantom, protocol, n_coils=coils, seed=subject.seed, name=subject.name)
                write_scan(path, phantom, raw, protocol, force=True)
                n_made += 1
            done += 1
            progress(done, len(cohort.subjects))
    except KeyboardInterrupt:
        n_scans = len(cohort.subjects)
        raise KeyboardInterrupt(f"{done} of {n_scans} scans are finished and kept; run again to continue.") from None
    click.echo(f"{folder}: {len(cohort.subjects)} scans, {n_made} of them new; subjects are listed in {table}")
    settings.say(f"next: mrfpipe frames {quote(str(folder))}/*.h5 -o FRAMES")


def _is_made(path: Path, protocol: "Protocol", slices: int, coils: int) -> bool:
    """Return whether the scan exists; OutputExistsError if it has other slices or coils, or another sequence."""
    from mrfpipe.acquisition.ismrmrd_writer import sequence_name
    from mrfpipe.acquisition.raw import describe_raw
    from mrfpipe.errors import OutputExistsError

    if not path.exists():
        return False
    there, sequence = describe_raw(path), protocol.sequence
    if (there["slices"], there["coils"]) != (slices, coils):
        raise OutputExistsError(
            f"{path} has {there['slices']} slice(s) and {there['coils']} coils; choose another folder, or use --force."
        )
    asked: dict[str, object] = {"readouts": sequence.n_readouts, "matrix": [sequence.matrix] * 2}
    if there["sequence_name"] is not None:  # scans of older versions do not name their sequence
        asked["sequence_name"] = sequence_name(sequence)
    if asked != {name: there[name] for name in asked}:
        raise OutputExistsError(
            f"{path} is a scan of another protocol than {protocol.name}; choose another folder, or use --force."
        )
    return True
