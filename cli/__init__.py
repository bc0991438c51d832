"""The command line: one file a command, thin; everything heavy is imported when a command runs."""

import os
import sys
import traceback
from importlib import import_module
from typing import Any, NoReturn

import click

from mrfpipe.errors import MrfpipeError, ResourceError

# Threads that wait for others sleep. Spinning, which OpenMP does unless told otherwise before it is loaded, costs a
# shared machine most of its time: training a small network beside another program took ten times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

COMMANDS = {
    "demo": "Scan a phantom, map it by matching and by a network, compare both with the truth.",
    "phantom": "Write the raw scan of a phantom, with its truth beside it.",
    "cohort": "Write the raw scans of a cohort of phantoms.",
    "protocol": "Derive a protocol from a Pulseq sequence.",
    "simulate": "Simulate the dictionary of a protocol.",
    "limit": "Say how well a protocol can tell each parameter at best.",
    "frames": "Reconstruct the frames of a raw scan.",
    "check": "Say which model of the signal explains a scan best.",
    "match": "Match scans with a dictionary: quantitative maps.",
    "train": "Train a network on scans whose maps are known.",
    "reconstruct": "Turn scans into quantitative maps by a network.",
    "export": "Write a network as an ONNX graph.",
    "evaluate": "Say how far maps are from a reference.",
    "stats": "Describe maps in regions: a table.",
    "report": "Show maps as a page for the browser.",
    "compare": "Show two results, or one and the truth, on a page for the browser.",
    "serve": "Turn scans into maps while they are measured.",
    "study": "Run an experiment: a table and a figure.",
    "info": "Say what a file is.",
    "doctor": "Say what this machine has and what would be chosen on it.",
}
"""In the order of a study; each is the function `command` of the module of its name."""

INTERRUPTED = 130
VERBOSE = "mrfpipe.verbose"
"""Key under which a command tells its group that it was called with --verbose."""


class Commands(click.Group):
    """Loads a command when it is called, and turns errors into one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order of a study."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import the module of a command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"{__name__}.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's signature
        """Run a command; say what went wrong in one line, with a traceback only if asked for by -v."""
        try:
            return super().invoke(ctx)
        except MrfpipeError as e:
            return fail(ctx, e)
        except MemoryError:
            return fail(ctx, ResourceError("The memory is used up; close other programs or use a larger machine."))
        except KeyboardInterrupt as e:
            click.echo(f"mrfpipe: interrupted; {e if e.args else 'nothing was written under a final name.'}", err=True)
            return ctx.exit(INTERRUPTED)


def fail(ctx: click.Context, error: MrfpipeError) -> NoReturn:
    """Say what went wrong and exit with its code."""
    complain(ctx, error)
    ctx.exit(error.exit_code)


def complain(ctx: click.Context, error: MrfpipeError) -> None:
    """Say what went wrong in one line, with a traceback only if asked for by -v."""
    if ctx.meta.get(VERBOSE):
        traceback.print_exception(error, file=sys.stderr)
    click.echo(f"mrfpipe: {' '.join(str(error).split())}", err=True)


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mrfpipe")
def main() -> None:
    """Magnetic Resonance Fingerprinting: raw scan in, quantitative maps out.

    Start with `mrfpipe demo`. Exit codes: 0 done, 2 wrong usage, 3 unreadable or invalid input, 4 inputs that do not
    fit each other, 5 output exists, 6 device, memory or disk, 130 interrupted.
    """
