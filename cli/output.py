"""What a command does with its scans: where their results go, what it tells of each, and how it ends."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path

import click

from mrfpipe.batch import Outcome, failure, run_here, run_on_cluster
from mrfpipe.errors import InputError, MismatchError, MrfpipeError
from mrfpipe.jobs import Job
from mrfpipe.pipeline import scan_name

from . import complain
from .options import Settings


def targets(inputs: Iterable[Path], place: Callable[[str], Path]) -> tuple[dict[Path, Path], list[Outcome]]:
    """Return where the result of every input goes, by the scan's name, and the failures of those that have none.

    Raises
    ------
    MismatchError
        If two inputs would share a result.
    """
    found: dict[Path, Path] = {}
    failures = []
    for path in dict.fromkeys(inputs):
        try:
            target = place(scan_name(path))
        except MrfpipeError as e:
            failures.append(failure(path, e))
            continue
        for twin in (other for other in found if found[other] == target):
            raise MismatchError(f"{twin} and {path} would both be written to {target}; take them one by one.")
        found[path] = target
    return found, failures


def do_all(jobs: Sequence[Job], failures: Sequence[Outcome], settings: Settings, scheduler: str | None) -> None:
    """Do jobs, here or on a cluster, and tell what becomes of each; exit with an error at the end if any failed.

    Parameters
    ----------
    jobs
        What to do.
    failures
        Of scans that there are no jobs for.
    settings
        What the common options say.
    scheduler
        Address of a cluster's scheduler; None for this machine.
    """
    n_scans = len(jobs) + len(failures)
    states: Counter[str] = Counter()
    failed: dict[Path, int] = {}
    outcomes = run_on_cluster(jobs, scheduler, settings.say) if scheduler else run_here(jobs, settings.progress)
    try:
        with closing(outcomes):
            for outcome in chain(failures, outcomes):
                _tell(outcome, settings)
                states[outcome.state] += 1
                if outcome.error is not None:
                    failed[outcome.source] = outcome.error.exit_code
    except KeyboardInterrupt:
        if n_scans == 1:
            raise
        rest = "workers finish the scans they are at" if scheduler else "nothing is half-written"
        raise KeyboardInterrupt(f"{states['done']} of {n_scans} scans were done and stay; {rest}.") from None
    _end(states, failed, settings)


def _tell(outcome: Outcome, settings: Settings) -> None:
    if outcome.error is not None:
        complain(click.get_current_context(), outcome.error)
    elif outcome.state == "skipped":
        settings.say(f"skipped: {outcome.text}")
    else:
        click.echo(outcome.text)


def _end(states: Counter[str], failed: dict[Path, int], settings: Settings) -> None:
    """Say in a line how many scans came to what, if there were several, and exit as the failures ask for."""
    tally = f"{states['done']} done, {states['skipped']} skipped, {states['failed']} failed"
    several = states.total() > 1
    if failed:
        if several:
            click.echo(f"mrfpipe: {tally}: {', '.join(map(str, failed))}", err=True)
        codes = set(failed.values())
        click.get_current_context().exit(codes.pop() if len(codes) == 1 else InputError.exit_code)
    if several:
        settings.say(tally)
