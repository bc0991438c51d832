"""The options of commands that write results as scans of a BIDS dataset."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import click


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Values of --bids, --subject and --session, which determine the folder of a scan's result."""

    bids: bool
    """Whether results are scans of a BIDS dataset."""
    subject: str | None
    """Label of the subject if there is only one scan; None to derive labels from the scans' names."""
    session: str | None
    """Label of the session of all scans; None if each subject has one scan."""

    def check(self, inputs: Sequence[Path]) -> None:
        """Refuse a subject label that is given for several scans."""
        if self.subject is not None and len(set(inputs)) > 1:
            raise click.UsageError(
                "--subject names the subject of one scan; leave it out for several, whose names become the subjects."
            )

    def folder(self, output: Path, scan: str) -> Path:
        """Return the result folder of a scan below the output of a command."""
        from mrfpipe.files.bids import label_of, scan_folder

        if not self.bids:
            return output / scan
        return scan_folder(output, self.subject or label_of(scan), self.session)


def bids_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the BIDS options to a command, which receives them as `layout`."""

    @click.option("--bids", is_flag=True, help="Write OUT as a BIDS derivative dataset with one subject per scan.")
    @click.option(
        "--subject", callback=_label, metavar="LABEL", help="With --bids: subject label. [default: the scan's name]"
    )
    @click.option("--session", callback=_label, metavar="LABEL", help="With --bids: session label. [default: none]")
    @functools.wraps(command)
    def with_layout(*args: Any, **given: Any) -> None:  # noqa: ANN401 - click has checked them
        layout = Layout(**{field.name: given.pop(field.name) for field in fields(Layout)})
        if not layout.bids and (layout.subject, layout.session) != (None, None):
            raise click.UsageError("--subject and --session require --bids.")
        command(*args, layout=layout, **given)

    return with_layout


def _label(ctx: click.Context, param: click.Parameter, text: str | None) -> str | None:  # noqa: ARG001 - click's signature
    if text is None:
        return None
    from mrfpipe.files.bids import is_label

    if not is_label(text):
        raise click.BadParameter(f"'{text}' is not a BIDS label; use letters and digits only, such as 01.")
    return text
