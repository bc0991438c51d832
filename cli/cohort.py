"""``mrfpipe cohort``: raw scans of many phantoms, drawn like the patients of the paper."""

from pathlib import Path

import click

from .options import INPUT, Settings, common_options


@click.command()
@click.argument("folder", type=INPUT, metavar="DIR")
@click.option("--subjects", type=click.IntRange(1, 10_000), default=164, show_default=True, help="How many.")
@click.option("--unseen", is_flag=True, help="Instead, subjects of shoulder, abdomen and pelvis, all three of each.")
@click.option("--slices", type=click.IntRange(1, 100), default=5, show_default=True, help="Slices of each.")
@click.option("--coils", type=click.IntRange(1, 128), default=8, show_default=True, help="Receive coils.")
@click.option("--protocol", default="t1ff", show_default=True, help="What is scanned: a name or a TOML file.")
@common_options
def command(
    settings: Settings, folder: Path, subjects: int, unseen: bool, slices: int, coils: int, protocol: str
) -> None:
    """Write the raw scans of a cohort of phantoms to DIR/SUBJECT.h5, each with its truth beside it.

    Diseases, ages, sexes, regions and the split into training, validation and test follow Table 1 of Balsiger et al.
    (2020); DIR/cohort.csv has a row for each subject. A subject is the same whatever the number of subjects. Scans that
    are there are kept, so that an interrupted cohort goes on.

    Example: mrfpipe cohort cohort --subjects 3 --slices 1
    """
    from mrfpipe.acquisition.ismrmrd_writer import write_ismrmrd
    from mrfpipe.files.atomic import require_space, writing
    from mrfpipe.phantom.cohort import Cohort, draw_cohort, draw_unseen
    from mrfpipe.phantom.scanner import scan
    from mrfpipe.phantom.truth import save_truth
    from mrfpipe.protocol import load_protocol

    loaded = load_protocol(protocol)
    sequence = loaded.sequence
    if unseen:
        cohort = Cohort(subjects=draw_unseen(subjects, seed=settings.seed), seed=settings.seed)
    else:
        cohort = draw_cohort(subjects, seed=settings.seed)
    table = folder / "cohort.csv"
    if not settings.force:
        _refuse_another(table, cohort.csv())
    folder.mkdir(parents=True, exist_ok=True)
    with writing(table, force=True) as partial:
        partial.write_text(cohort.csv(), encoding="utf-8")
    progress, n_made = settings.progress("scan"), 0
    for done, subject in enumerate(cohort.subjects, start=1):
        raw_path, truth_path = folder / f"{subject.name}.h5", folder / f"{subject.name}.truth.npz"
        if settings.force or not (truth_path.exists() and _is_made(raw_path, slices, coils)):
            phantom = subject.phantom(
                matrix=sequence.matrix,
                fov=sequence.fov,
                slice_spacing=1.5 * sequence.slice_thickness,
                n_slices=slices,
            )
            raw = scan(phantom, loaded, n_coils=coils, seed=subject.seed, name=subject.name)
            require_space(raw_path, raw.kspace.nbytes + slices * raw.trajectory.nbytes)
            with writing(truth_path, force=True) as partial:
                save_truth(phantom, partial)
            with writing(raw_path, force=True) as partial:
                write_ismrmrd(raw, sequence, partial, field=loaded.tissue.field)
            n_made += 1
        progress(done, len(cohort.subjects))
    click.echo(f"{folder}: {len(cohort.subjects)} scans, {n_made} of them new; who they are in {table}")
    settings.say(f"next: mrfpipe frames {folder}/*.h5 -o FRAMES")


def _refuse_another(table: Path, rows: str) -> None:
    """Refuse a folder whose subjects are others; fewer or more of the same are welcome."""
    from mrfpipe.errors import OutputExistsError

    known = table.read_text(encoding="utf-8").splitlines() if table.exists() else []
    if any(old != new for old, new in zip(known, rows.splitlines(), strict=False)):
        raise OutputExistsError(f"{table} is of other subjects; choose another folder, or replace it with --force.")


def _is_made(path: Path, slices: int, coils: int) -> bool:
    """Return whether the scan is there.

    Raises
    ------
    OutputExistsError
        If it has other slices or coils.
    """
    from mrfpipe.acquisition.raw import describe_raw
    from mrfpipe.errors import OutputExistsError

    if not path.exists():
        return False
    there = describe_raw(path)
    if (there["slices"], there["coils"]) != (slices, coils):
        raise OutputExistsError(
            f"{path} has {there['slices']} slice(s) and {there['coils']} coils; choose another folder, or --force."
        )
    return True
