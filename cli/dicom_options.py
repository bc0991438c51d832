"""The options of commands that also write maps as DICOM."""

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import click

from mrfpipe.files.kinds import DICOM

from .paths import Input


@dataclass(frozen=True, slots=True, kw_only=True)
class Dicom:
    """Values of --dicom, --dicom-int16 and --like."""

    dicom: bool
    """Whether the maps are also written as parametric maps."""
    dicom_int16: bool
    """Whether the maps are also written as plain MR images."""
    like: Path | None
    """The image that patient and study are taken from; None to take them from the scan."""

    def check(self, inputs: Sequence[Path]) -> None:
        """Refuse to use the patient of one image for several scans."""
        if self.like is not None and len(set(inputs)) > 1:
            raise click.UsageError("--like names the patient of one scan; call the command once per scan.")

    def unnamed(self, command: list[str]) -> list[str]:
        """Return the command line to record, without the path of the image, which may contain the patient's name."""
        is_path = [False, *(word == "--like" for word in command)]
        return [
            "REFERENCE.dcm" if hidden else re.sub("^--like=.*", "--like=REFERENCE.dcm", word, flags=re.DOTALL)
            for word, hidden in zip(command, is_path, strict=False)
        ]


def dicom_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the DICOM options to a command, which receives them as `images`."""

    @click.option("--dicom", is_flag=True, help="Also write the maps as DICOM parametric maps; needs mrfpipe[dicom].")
    @click.option(
        "--dicom-int16",
        is_flag=True,
        help="Also write the maps as plain DICOM MR images, for viewers without parametric maps.",
    )
    @click.option(
        "--like",
        type=Input(DICOM),
        metavar="REFERENCE.dcm",
        help="With --dicom or --dicom-int16: DICOM image of the same examination, to take patient, study and frame of "
        "reference from. [default: the scan's header]",
    )
    @functools.wraps(command)
    def with_images(*args: Any, **given: Any) -> None:  # noqa: ANN401 - click has checked them
        images = Dicom(**{field.name: given.pop(field.name) for field in fields(Dicom)})
        if images.like is not None and not (images.dicom or images.dicom_int16):
            raise click.UsageError("--like requires --dicom or --dicom-int16.")
        command(*args, images=images, **given)

    return with_images
