"""Batch: many scans, each from its file to its result, on this machine or on a Dask cluster.

Finished scans are not processed again, and a scan that fails does not stop the others. A scan is one task: on a cluster
the worker reads the input and writes the result itself, under a name that becomes final only when the result is
complete. So if a worker is lost, another one can take over its task at any time and finds no result or all of it.
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
    """How the processing of a scan ended."""

    source: Path
    """The scan."""
    state: Literal["done", "skipped", "failed"]
    """Whether the scan was processed, was skipped because a result existed already, or failed."""
    text: str
    """Message about the scan, in one or more lines."""
    warning: str = ""
    """Warning about a finished result, in one line; empty if there is none."""
    error: MrfpipeError | None = None
    """Error that made it fail."""


def failure(source: Path, error: MrfpipeError) -> Outcome:
    """Return the outcome of a scan that failed."""
    return Outcome(source=source, state="failed", text=str(error), error=error)


def run_job(job: Job, progress: Progress) -> Outcome:
    """Run one job unless its result exists; an error of the scan itself is returned as the outcome."""
    try:
        return _found(job) or _done(job, progress)
    except OutputExistsError as e:
        # Another run may have written the same result since the check.
        return _found(job) or failure(job.source, e)
    except MrfpipeError as e:
        return failure(job.source, e)
    except MemoryError:
        return failure(job.source, ResourceError(f"{job.source} does not fit into memory; use a larger machine."))


def _done(job: Job, progress: Progress) -> Outcome:
    made = job.run(progress)
    return Outcome(source=job.source, state="done", text=made.text, warning=made.warning)


def _found(job: Job) -> Outcome | None:
    """Return the outcome if a result exists already and is kept."""
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
    """Return the error for another result in a job's place: what it is, and how to proceed without losing it."""
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
    """Run jobs on this machine, one after the other."""
    for job in jobs:
        yield run_job(job, progress)


def run_on_cluster(jobs: Sequence[Job], address: str, say: Callable[[str], None]) -> Generator[Outcome]:
    """Run jobs on the workers of a Dask cluster, given its scheduler's address; yield outcomes as they are ready.

    Paths must mean the same on every worker. Jobs whose worker is lost are given to another worker. Jobs that no worker
    has begun are dropped when the caller stops. `say` is called with the size of the cluster. ResourceError if Dask is
    not installed, or the scheduler cannot be reached or disappears.
    """
    with _connect(address) as client:
        from distributed import as_completed

        n_workers = _count_workers(client)
        say(f"{len(jobs)} scan(s) for {n_workers} worker(s) at {address}{'' if n_workers else '; waiting for one'}")
        futures = dict(zip(client.map(run_on_worker, jobs, pure=False), jobs, strict=True))
        for future in as_completed(futures, loop=client.loop):
            yield _outcome(future, futures.pop(future), address)


def run_on_worker(job: Job) -> Outcome:
    """Run one job in a worker process, which processes one scan at a time however many threads it has."""
    with _ONE_SCAN:
        if job.threads is not None:
            limit_threads(job.threads)
        return run_job(job, SILENT)


_ONE_SCAN = threading.Lock()
"""A scan uses all cores, and numba's threads must not be started from two threads at once."""


def _connect(address: str) -> "Client":
    try:
        from distributed import Client
        from distributed.comm import get_address_host_port
    except ImportError as e:
        raise ResourceError("--scheduler needs Dask, which is not installed; pip install 'mrfpipe[cluster]'.") from e
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # errors are raised, and reported once
    try:
        get_address_host_port(address)  # a client made with a wrong address cannot be closed
        return Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as e:
        raise ResourceError(f"The scheduler {address} cannot be reached: {e}; check the address.") from e


def _count_workers(client: "Client") -> int:
    """Count the connected workers; refuse workers of another version, which would die of jobs they cannot read."""
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
