"""``mrfpipe serve``: maps of scans while they are measured."""

import socket
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mrfpipe.errors import MismatchError, ResourceError
from mrfpipe.files.kinds import NETWORK
from mrfpipe.files.schemas import DICTIONARY
from mrfpipe.run.by import MapsBy, MatchBy, NetworkBy

from .imaging_options import imaging_options
from .options import Settings, common_options
from .paths import Input, Place

if TYPE_CHECKING:
    from mrfpipe.imaging.choices import Imaging
    from mrfpipe.run.mapper import Mapper


@click.command()
@click.option(
    "-d",
    "--dictionary",
    "dictionaries",
    type=Input(DICTIONARY),
    multiple=True,
    metavar="DICT.h5",
    help="Offer matching with this dictionary, by the name of its file; any number. The first is the default.",
)
@click.option(
    "--model",
    "models",
    type=Input(NETWORK),
    multiple=True,
    metavar="MODEL",
    help="Offer this network, by the name of its folder; any number. [default: those that ship]",
)
@click.option("-o", "--output", type=Place(folder=True), metavar="OUT", help="Keep a result folder of every scan here.")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Address to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), default=9002, show_default=True, help="Port; 0 for a free one.")
@common_options
@imaging_options
def command(
    settings: Settings,
    dictionaries: tuple[Path, ...],
    models: tuple[Path, ...],
    output: Path | None,
    host: str,
    port: int,
    imaging: "Imaging",
) -> None:
    """Take scans as they are measured, over MRD streaming (OpenRecon, FIRE, Gadgetron), and send their maps back.

    A client chooses `matching` or `network` by its configuration, or leaves it to the server, which matches if it has a
    dictionary. Every slice is reconstructed as soon as it is complete. Connections are served one after the other, and
    each is told in a line; the server runs until it is interrupted. It knows no passwords: let nothing but the scanner
    reach it.

    Example: mrfpipe serve -d t1ff.h5
    """
    try:
        listening = socket.create_server((host, port))
    except OSError as e:
        raise ResourceError(f"{host}:{port} cannot be listened at: {e.strerror or e}; choose another --port.") from e
    with listening:
        from mrfpipe.learning.shipped import shipped_models
        from mrfpipe.run.offer import Offer
        from mrfpipe.run.server import Server

        offer = Offer(
            dictionaries=_named({path: MatchBy(dictionary=path) for path in dictionaries}),
            networks=_named({path: NetworkBy(model=path) for path in models or shipped_models()}),
            imaging=imaging,
        )
        names = ", ".join([*offer.dictionaries, *offer.networks])
        server = Server(
            offer=offer,
            device=settings.device(),
            say=click.echo,
            output=output,
            command=tuple(settings.command),
        )
        settings.say(f"listening at {host}:{listening.getsockname()[1]} for scans, with {names}; interrupt to end")
        server.serve(listening)


def _named(by: dict[Path, MapsBy]) -> dict[str, "Mapper"]:
    """Read what makes maps, and name each by its file or folder."""
    from mrfpipe.run.by import load_mapper

    named: dict[str, Mapper] = {}
    for path, one in by.items():
        name = path.resolve().stem if path.is_file() else path.resolve().name
        if name in named:
            raise MismatchError(f"Two are called {name}, the second is {path}; rename one.")
        named[name] = load_mapper(one, path)
    return named
