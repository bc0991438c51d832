"""The options that many commands share, the settings made from them, and the output of a command while it works.

Results go to standard output; messages and progress go to standard error, progress only if that is a terminal.
"""

import functools
import gc
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec
from uuid import uuid4

import click
from tqdm import tqdm

from mrfpipe.progress import UNTOLD, Steps, stage

from . import VERBOSE
from .paths import refuse_to_replace_inputs

if TYPE_CHECKING:
    import torch


P = ParamSpec("P")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Values of the common options."""

    device_name: str
    """auto, cpu, cuda or cuda:N; auto for commands that compute on the CPU only."""
    threads: int | None
    """CPU threads to use; None for all cores."""
    seed: int
    """Seed of all random numbers; 0 for commands that draw none."""
    force: bool
    """Whether existing outputs are replaced."""
    verbosity: int
    """-1 quiet, 0 normal, 1 verbose."""

    @property
    def command(self) -> list[str]:
        """The command line, word by word."""
        return ["mrfpipe", *sys.argv[1:]]

    def device(self) -> "torch.device":
        """Return the requested device, and report which one `auto` chose."""
        from mrfpipe.arrays import resolve_device

        device = resolve_device(self.device_name)
        if self.device_name == "auto":
            self.say(f"device: {device} (selected automatically)")
        return device

    def say(self, text: str) -> None:
        """Write a message to standard error unless quiet."""
        if self.verbosity >= 0:
            click.echo(text, err=True)

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Report that the block imports libraries, which takes seconds, and run it without the garbage collector.

        Imports create hundreds of thousands of objects and no garbage. The collector would search these objects
        repeatedly, during the imports and later.
        """
        gc.disable()
        try:
            with stage(self.progress, "load"):
                yield
        finally:
            gc.freeze()
            gc.enable()

    def progress(self, stage: str) -> Steps:
        """Return a callback for the numbers of finished and of all steps of a stage; on a terminal it draws a bar."""
        if self.verbosity < 0 or not sys.stderr.isatty():
            return UNTOLD
        bar = tqdm(desc=stage, file=sys.stderr, leave=False, dynamic_ncols=True)

        def draw(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)
            if done == total:
                bar.close()

        return draw


device_option = click.option(
    "--device", default="auto", metavar="auto|cpu|cuda[:N]", help="Device to compute on. [default: auto]"
)
"""Option --device, for commands that can compute on a GPU."""
seed_option = click.option("--seed", type=click.IntRange(min=0), default=0, help="Random seed. [default: 0]")
"""Option --seed, for commands that draw random numbers."""


def common_options(command: Callable[Concatenate[Settings, P], None]) -> Callable[..., None]:
    """Add the common options to a command, which receives them as `Settings` in its first argument.

    The values of `device_option` and `seed_option`, which a command may have above this decorator, are part of them.
    --force and --verbose are eager, so that they are known when the paths of a command are checked.
    """

    @click.option("--threads", type=click.IntRange(min=1), help="Number of CPU threads. [default: all cores]")
    @click.option("--force", is_flag=True, is_eager=True, help="Replace existing outputs.")
    @click.option(
        "-v",
        "--verbose",
        is_flag=True,
        is_eager=True,
        callback=_note_verbose,
        help="Print more messages, and tracebacks of errors.",
    )
    @click.option("-q", "--quiet", is_flag=True, help="Print only results and errors.")
    @functools.wraps(command)
    def with_settings(
        *args: Any,  # noqa: ANN401 - the command's own arguments
        threads: int | None,
        force: bool,
        verbose: bool,
        quiet: bool,
        device: str = "auto",
        seed: int = 0,
        **kwargs: Any,  # noqa: ANN401 - the command's own options
    ) -> None:
        if verbose and quiet:
            raise click.UsageError("--verbose and --quiet are mutually exclusive.")
        refuse_to_replace_inputs(click.get_current_context())
        if threads is not None:
            from mrfpipe.arrays import limit_threads

            limit_threads(threads)
        settings = Settings(
            device_name=device, threads=threads, seed=seed, force=force, verbosity=int(verbose) - int(quiet)
        )
        command(settings, *args, **kwargs)

    return with_settings


def _note_verbose(ctx: click.Context, param: click.Parameter, verbose: bool) -> bool:  # noqa: ARG001 - click's signature
    """Tell the group about --verbose before any error can occur."""
    ctx.meta[VERBOSE] = verbose
    return verbose


class Number(click.FloatRange):
    """A number in a range. `click.FloatRange` accepts NaN, because NaN is neither below nor above a limit."""

    def __init__(self, *args: Any, infinite: bool = False, **kwargs: Any) -> None:  # noqa: ANN401 - click's
        super().__init__(*args, **kwargs)
        self.infinite = infinite

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """Return the number; fail if it is NaN, or infinite where that is not allowed."""
        number = super().convert(value, param, ctx)
        if math.isnan(number) or (math.isinf(number) and not self.infinite):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


INPUT = click.Path(path_type=Path)
"""A path to read from or write to; it is checked, with a specific exit code, only when it is read or written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Value of --scheduler: the machines on which many scans are processed."""

    scheduler: str | None
    """Address of a Dask cluster's scheduler; None for this machine."""
    batch: str
    """Identifier of this call on the cluster; empty on this machine."""

    def path(self, path: Path) -> Path:
        """Return a path that is independent of the folder in which a worker was started."""
        return path.absolute() if self.scheduler else path

    def device(self, settings: Settings) -> str:
        """Return the device to compute on; on a cluster, each worker resolves `auto` itself."""
        return settings.device_name if self.scheduler else str(settings.device())


def _where(ctx: click.Context, param: click.Parameter, scheduler: str | None) -> Where:  # noqa: ARG001 - click's signature
    return Where(scheduler=scheduler, batch=uuid4().hex if scheduler else "")


scheduler_option = click.option(
    "--scheduler",
    "where",
    metavar="ADDRESS",
    callback=_where,
    help="Run on the Dask cluster of this scheduler (tcp://host:8786), one task per scan. Workers read inputs and "
    "write results themselves, so all paths must mean the same to them. A worker processes one scan at a time: start "
    "it with --nthreads 1, and limit it with --threads where several share a machine. Needs mrfpipe[cluster]. "
    "[default: this machine, one scan after the other]",
)
"""Option --scheduler for commands that take many scans; the command receives a `Where`."""
