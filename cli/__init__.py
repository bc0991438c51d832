"""The command line: one thin module per command; heavy libraries are imported only when a command runs."""

import atexit
import gc
import os
import sys
import traceback
from importlib import import_module
from typing import Any, NoReturn

import click

from mrfpipe.errors import MrfpipeError, ResourceError

# Let waiting threads sleep. OpenMP reads this setting when it is loaded; without it, waiting threads spin and block the
# cores of a shared machine: training a small network beside another program took ten times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# At exit, the memory of the process is returned as a whole; collecting garbage before would take most of a second.
atexit.register(gc.freeze)

COMMANDS = {
    "demo": "Simulate a scan, map it by matching and by a network, and compare both with ground truth.",
    "phantom": "Simulate the raw scan of a phantom, with its ground truth.",
    "cohort": "Simulate the raw scans of a cohort of phantoms.",
    "protocol": "Derive a protocol from a Pulseq sequence or a Siemens scan of T1-FF.",
    "simulate": "Simulate the dictionary of a protocol.",
    "limit": "Compute the Cramer-Rao bound of each parameter of a protocol.",
    "frames": "Reconstruct the frames of raw scans.",
    "check": "Test the assumptions of the signal model on a raw scan.",
    "match": "Estimate quantitative maps by dictionary matching.",
    "train": "Train a network on scans with known maps.",
    "reconstruct": "Estimate quantitative maps with a neural network.",
    "export": "Export a network as an ONNX graph.",
    "evaluate": "Compute error metrics against a reference.",
    "stats": "Write statistics of the maps in regions to a table.",
    "report": "Write the HTML page of a result.",
    "compare": "Compare two results, or a result and ground truth, on an HTML page.",
    "serve": "Receive scans over MRD streaming and return their maps.",
    "study": "Run an experiment that gives tables and figures.",
    "info": "Describe a file.",
    "doctor": "List the resources of this machine and the resulting defaults.",
}
"""Commands in the order in which a study uses them; each is the function `command` of the module of the same name."""

INTERRUPTED = 130
VERBOSE = "mrfpipe.verbose"
"""Key under which a command tells its group that it was called with --verbose."""


class Commands(click.Group):
    """Imports a command when it is called, and turns errors into one line and an exit code."""

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
        """Run a command; report an error in one line, with a traceback only with -v."""
        try:
            return super().invoke(ctx)
        except MrfpipeError as e:
            return fail(ctx, e)
        except MemoryError:
            return fail(ctx, ResourceError("Out of memory; close other programs or use a larger machine."))
        except KeyboardInterrupt as e:
            click.echo(f"mrfpipe: interrupted; {e if e.args else 'nothing was written under a final name.'}", err=True)
            return ctx.exit(INTERRUPTED)


def fail(ctx: click.Context, error: MrfpipeError) -> NoReturn:
    """Report an error and exit with its code."""
    complain(ctx, error)
    ctx.exit(error.exit_code)


def complain(ctx: click.Context, error: MrfpipeError) -> None:
    """Report an error in one line, with a traceback only with -v."""
    if ctx.meta.get(VERBOSE):
        traceback.print_exception(error, file=sys.stderr)
    click.echo(f"mrfpipe: {' '.join(str(error).split())}", err=True)


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mrfpipe")
def main() -> None:
    """Magnetic Resonance Fingerprinting: from raw scans to quantitative maps.

    Start with `mrfpipe demo`. Exit codes: 0 success, 2 wrong usage, 3 unreadable or invalid input, 4 inputs that do not
    fit each other, 5 output exists, 6 device, memory or disk, 130 interrupted.
    """
