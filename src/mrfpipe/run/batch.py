"""Batch: many scans, each from its file to its result, on this machine or on a Dask cluster.

What is done is not done again, and a scan that fails does not stop the others. A scan is one task: on a cluster the
worker reads the input and writes the result itself, under a name that becomes final only when it is complete. So a task
can be lost with its worker at any time and be given to another one, which finds either nothing or all of the result.
"""

import logging
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mrfpipe.arrays import limit_threads
from mrfpipe.errors import MrfpipeError, OutputExistsError, ResourceError
from mrfpipe.files.provenance import Provenance, sha256_of
from mrfpipe.progress import SILENT, Progress
from mrfpipe.run.job import Job
from mrfpipe.version import __version__

if TYPE_CHECKING:
    from distributed import Client

CONNECT_S = 10
"""How long to try to reach a scheduler, in s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a scan."""

    source: Path
    """The scan."""
    state: Literal["done", "skipped", "failed"]
    """Skipped is what was done already."""
    text: str
    """What to tell of it, in a line or more."""
    warning: str = ""
    """What was not as it should be although it is done, in a line."""
    error: MrfpipeError | None = None
    """Why it failed."""


def failure(source: Path, error: MrfpipeError) -> Outcome:
    """Make the outcome of a scan that failed."""
    return Outcome(source=source, state="failed", text=str(error), error=error)


def run_job(job: Job, progress: Progress) -> Outcome:
    """Do one job unless it is done; an error that is the scan's own is its outcome."""
    try:
        return _found(job) or _done(job, progress)
    except OutputExistsError as e:
        # Another run may have made the same result since it was looked for.
        return _found(job) or failure(job.source, e)
    except MrfpipeError as e:
        return failure(job.source, e)
    except MemoryError:
        return failure(job.source, ResourceError(f"{job.source} does not fit into memory; use a larger machine."))


def _done(job: Job, progress: Progress) -> Outcome:
    made = job.run(progress)
    return Outcome(source=job.source, state="done", text=made.text, warning=made.warning)


def _found(job: Job) -> Outcome | None:
    """Return the outcome if a result is there already and stays."""
    made = job.made()
    if made is None:
        return None
    if job.batch and made.notes.get("batch") == job.batch:
        return Outcome(source=job.source, state="done", text=f"{job.target}: done before its worker was lost")
    if job.force:
        return None
    if made.recipe == job.recipe() and job.is_complete():
        return Outcome(source=job.source, state="skipped", text=f"{job.target} is finished; replace it with --force")
    return failure(job.source, _in_the_way(job, made))


def _in_the_way(job: Job, made: Provenance) -> OutputExistsError:
    """Say what another result is that is where a job's is to be, and what to do so that nothing is lost."""
    scan = sha256_of(job.source)
    if scan not in made.inputs.values():
        others = [path for path, digest in made.inputs.items() if made.recipe and digest == made.recipe.scan]
        elsewhere = job.target.with_name(f"{job.source.absolute().parent.name}-{job.target.name}")
        return OutputExistsError(
            f"{job.target} is the result of another scan{''.join(f', {path}' for path in others)}; "
            f"choose another -o, such as {elsewhere}."
        )
    if made.recipe is None:
        how = "and does not record all of its settings"
    else:
        differences = ", ".join(made.recipe.differences(job.recipe())) or "layout or DICOM of the images"
        how = f"made with other settings ({differences})"
    return OutputExistsError(f"{job.target} exists already, {how}; replace it with --force, or choose another -o.")


def run_here(jobs: Sequence[Job], progress: Progress) -> Generator[Outcome]:
    """Do jobs on this machine, one after the other."""
    for job in jobs:
        yield run_job(job, progress)


def run_on_cluster(jobs: Sequence[Job], address: str, say: Callable[[str], None]) -> Generator[Outcome]:
    """Do jobs on the workers of the Dask cluster of a scheduler's address; outcomes come as they are ready.

    Paths must mean the same on every worker. Jobs whose worker is lost are given to another. Those that no worker has
    begun are dropped when the caller stops. `say` is told how large the cluster is. ResourceError if Dask is not
    installed, or the scheduler cannot be reached or goes away.
    """
    with _connect(address) as client:
        from distributed import as_completed

        n_workers = _count_workers(client)
        say(f"{len(jobs)} scan(s) for {n_workers} worker(s) at {address}{'' if n_workers else '; waiting for one'}")
        futures = dict(zip(client.map(run_on_worker, jobs, pure=False), jobs, strict=True))
        for future in as_completed(futures, loop=client.loop):
            yield _outcome(future, futures.pop(future), address)


def run_on_worker(job: Job) -> Outcome:
    """Do one job in a worker process, which makes one scan at a time however many threads it has."""
    with _ONE_SCAN:
        if job.threads is not None:
            limit_threads(job.threads)
        return run_job(job, SILENT)


_ONE_SCAN = threading.Lock()
"""A scan takes all cores, and the threads of numba are not to be started from two threads at once."""


def _connect(address: str) -> "Client":
    try:
        from distributed import Client
        from distributed.comm import get_address_host_port
    except ImportError as e:
        raise ResourceError("--scheduler needs Dask, which is not installed; pip install 'mrfpipe[cluster]'.") from e
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # what goes wrong is raised, and told once
    try:
        get_address_host_port(address)  # a client made with a wrong address cannot be closed
        return Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as e:
        raise ResourceError(f"The scheduler {address} cannot be reached: {e}; check the address.") from e


def _count_workers(client: "Client") -> int:
    """Count the workers that are there; refuse them before they die of a job that they cannot read."""
    found: dict[str, object] = client.run(version, "mrfpipe", on_error="return")
    for worker, its_version in found.items():
        if its_version != __version__:
            complaint = f"does not have mrfpipe {__version__} installed ({its_version})"
            raise ResourceError(f"Worker {worker} {complaint}; install the version of this machine there.")
    return len(found)


def _outcome(future: Any, job: Job, address: str) -> Outcome:  # noqa: ANN401 - distributed has no types
    from distributed import KilledWorker
    from distributed.comm import CommClosedError

    try:
        outcome: Outcome = future.result()
    except KilledWorker as e:
        complaint = f"{job.source} was on {e.allowed_failures + 1} workers that died; give the workers more memory."
        return failure(job.source, ResourceError(complaint))
    except (CancelledError, CommClosedError) as e:
        raise ResourceError(
            f"The connection to the scheduler {address} was lost; run again, finished scans are skipped."
        ) from e
    except (ImportError, RuntimeError) as e:
        if isinstance(e, RuntimeError) and "deserialization" not in str(e):
            raise
        complaint = "cannot import what a scan needs; install the same version of mrfpipe on scheduler and workers."
        raise ResourceError(f"The cluster at {address} {complaint}") from e
    return outcome
