"""Results of a command that takes scans: their paths, the messages about each scan, and the exit code."""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import click

from mrfpipe.errors import MismatchError, MrfpipeError
from mrfpipe.files.results import scan_name
from mrfpipe.run.batch import Outcome, run_here, run_on_cluster
from mrfpipe.run.job import Job

from .options import Settings
from .paths import Scans


def targets(scans: Scans, place: Callable[[str], Path]) -> dict[Path, Path]:
    """Return the path of every scan's result, derived from the scan's name; scans without a valid name fail.

    Scans with the same name are distinguished by their folders: ``a/scan.h5`` and ``b/scan.h5`` are a-scan and b-scan.

    MismatchError if two scans would have the same result path.
    """
    names: dict[Path, str] = {}
    for path in scans.readable:
        try:
            names[path] = scan_name(path)
        except MrfpipeError as e:
            scans.fail(path, e)
    found: dict[Path, Path] = {}
    for path, name in _told_apart(names).items():
        target = place(name)
        for twin in (other for other in found if found[other] == target):
            raise MismatchError(f"{twin} and {path} would both be written to {target}; choose another -o for one.")
        found[path] = target
    return found


def _told_apart(names: Mapping[Path, str]) -> dict[Path, str]:
    """Prefix names that are not unique with as few folders as possible, equally many for all scans of one name."""
    told = dict(names)
    folders = {path: Path(os.path.abspath(path)).parent.parts[1:] for path in names}  # noqa: PTH100 - no links followed
    for name in set(names.values()):
        twins = [path for path in names if names[path] == name]
        for n in range(1, max(len(folders[path]) for path in twins) + 1):
            longer = {path: "-".join([*folders[path][-n:], name]) for path in twins}
            if 1 < len(twins) == len(set(longer.values())):
                told |= longer
                break
    return told


def do_all(jobs: Sequence[Job], scans: Scans, settings: Settings, scheduler: str | None) -> None:
    """Run jobs, on this machine or on the cluster of a scheduler, and report the outcome of each scan.

    Exits with an error at the end if any scan failed, in a job or before.
    """
    n_scans = len(jobs) + len(scans.failed)
    states: Counter[str] = Counter()
    outcomes = run_on_cluster(jobs, scheduler, settings.say) if scheduler else run_here(jobs, settings.progress)
    try:
        with closing(outcomes):
            for outcome in outcomes:
                if outcome.error is None:
                    _tell(outcome, settings)
                    states[outcome.state] += 1
                else:
                    scans.fail(outcome.source, outcome.error)
    except KeyboardInterrupt:
        if n_scans == 1:
            raise
        rest = "workers finish their current scans" if scheduler else "no result is incomplete"
        raise KeyboardInterrupt(f"{states['done']} of {n_scans} scans are finished and kept; {rest}.") from None
    scans.conclude(states, settings.say)


def _tell(outcome: Outcome, settings: Settings) -> None:
    if outcome.state == "skipped":
        settings.say(f"skipped: {outcome.text}")
    else:
        click.echo(outcome.text)
        if outcome.warning:
            settings.say(f"warning: {outcome.warning}")
