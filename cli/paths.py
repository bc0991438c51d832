"""The paths and protocols of a command line, which are checked while it is parsed.

A file that is missing, would be overwritten or is of another kind is refused before a command spends time on imports.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mrfpipe.errors import InputError, MrfpipeError, OutputExistsError, ResourceError
from mrfpipe.files.kinds import PROTOCOL, RAW, refuse_other
from mrfpipe.files.schemas import DICTIONARY, FRAMES, Kind

from . import complain

if TYPE_CHECKING:
    from mrfpipe.protocol import Protocol


RESULT_FIRST = "give the result first, then the reference"
"""Advice if a truth is given where a result is expected."""
_PROTOCOLS = "mrfpipe.protocols"
"""Key under which a command keeps the paths of the files that its protocols were read from."""


class Input(click.Path):
    """A path to read, which must be of one of the given kinds."""

    def __init__(self, *kinds: Kind, cure: str = "") -> None:
        super().__init__(path_type=Path)
        self.kinds, self.cure = kinds, cure

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:  # noqa: ANN401
        """Return the path if it can be of one of the kinds."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        refuse_other(path, *self.kinds, cure=self.cure)
        return path


class Output(click.Path):
    """A file to write, or a folder that is recognised by its marker; replacing an existing one needs --force."""

    def __init__(self, marker: str | None = None) -> None:
        super().__init__(path_type=Path)
        self.marker = marker

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:  # noqa: ANN401
        """Return the path if it can be written."""
        from mrfpipe.files.atomic import refuse_existing

        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        refuse_existing(path, force=bool(ctx and ctx.params.get("force")), marker=self.marker)
        return path


class Place(click.Path):
    """Place for results, which may exist: finished results are not made again."""

    def __init__(self, *, folder: bool) -> None:
        super().__init__(path_type=Path)
        self.folder = folder

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:  # noqa: ANN401
        """Return the path if something can be written there."""
        from mrfpipe.files.atomic import refuse_unwritable

        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if not path.exists():
            refuse_unwritable(path)
        elif self.folder and not path.is_dir():
            raise ResourceError(f"{path} cannot be written to: it is a file, not a folder; choose another -o.")
        return path


def named_protocol(name: "str | Protocol") -> "Protocol":
    """Read a built-in protocol by its name, or a protocol from a TOML file."""
    from mrfpipe.protocol import Protocol, built_in_protocols, load_protocol

    if isinstance(name, Protocol):
        return name
    if name not in built_in_protocols() and os.path.lexists(name):
        refuse_other(Path(name), PROTOCOL)
        click.get_current_context().meta.setdefault(_PROTOCOLS, []).append(Path(name))
    return load_protocol(name)


def protocol_option(text: str = "Protocol: a built-in name or a TOML file.") -> Callable[..., Any]:
    """Add the option --protocol to a command; its default is t1ff."""
    kind, shown = named_protocol, "NAME|FILE"
    return click.option("--protocol", type=kind, metavar=shown, default="t1ff", show_default=True, help=text)


dictionary_option = click.option(
    "-d",
    "--dictionary",
    type=Input(DICTIONARY),
    required=True,
    metavar="DICT.h5",
    help="Dictionary written by `simulate`.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scans:
    """The scans of a command that takes many: a failing scan is reported at once and does not stop the others."""

    readable: list[Path] = field(default_factory=list)
    """Scans to process, each once."""
    failed: dict[Path, int] = field(default_factory=dict)
    """Exit code of each scan that failed."""

    def fail(self, path: Path, error: MrfpipeError) -> None:
        """Report why a scan fails, and remember its exit code."""
        complain(click.get_current_context(), error)
        self.failed[path] = error.exit_code

    def conclude(self, states: Counter[str], say: Callable[[str], None]) -> None:
        """Report in one line how many of several scans had which outcome; exit with the code of failures, if any."""
        tally = f"{states['done']} done, {states['skipped']} skipped, {len(self.failed)} failed"
        several = states.total() + len(self.failed) > 1
        if self.failed:
            if several:
                click.echo(f"mrfpipe: {tally}: {', '.join(map(str, self.failed))}", err=True)
            codes = set(self.failed.values())
            click.get_current_context().exit(codes.pop() if len(codes) == 1 else InputError.exit_code)
        if several:
            say(tally)


def scans_argument(metavar: str, *kinds: Kind) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the argument `scans` to a command: many scans of the given kinds, of which it receives the usable ones."""

    def look(ctx: click.Context, param: click.Parameter, paths: tuple[Path, ...]) -> Scans:  # noqa: ARG001 - click's
        scans = Scans()
        if ctx.resilient_parsing:  # the shell completes the line, so nothing must be printed
            return scans
        for path in dict.fromkeys(paths):
            try:
                refuse_other(path, *kinds)
            except InputError as e:
                scans.fail(path, e)
            else:
                scans.readable.append(path)
        if not scans.readable:
            scans.conclude(Counter(), click.echo)
        return scans

    kind = click.Path(path_type=Path)
    return click.argument("scans", nargs=-1, required=True, type=kind, metavar=metavar, callback=look)


def refuse_to_replace_inputs(ctx: click.Context) -> None:
    """Raise OutputExistsError if an output is also an input of the command, even with --force: no input is lost."""
    given = [(param, ctx.params[param.name]) for param in ctx.command.params if param.name in ctx.params]
    is_output = [isinstance(param.type, Output | Place) for param, _ in given]
    outputs = _paths_in(value for (_, value), written in zip(given, is_output, strict=True) if written)
    inputs = _paths_in(value for (_, value), written in zip(given, is_output, strict=True) if not written)
    kept = [path for path in (*inputs, *ctx.meta.get(_PROTOCOLS, ())) if path.is_file()]
    for output in outputs:
        if output.is_file() and any(output.samefile(path) for path in kept):
            raise OutputExistsError(f"{output} is read by the command and is not replaced; choose another -o.")


def _paths_in(values: Iterable[object]) -> Iterator[Path]:
    for value in values:
        match value:
            case Path():
                yield value
            case tuple():
                yield from _paths_in(value)
            case Scans():
                yield from value.readable


SCAN = (RAW, FRAMES)
"""Kinds of scans: a raw scan, or a series of frames."""
