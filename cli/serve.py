"""``mrfpipe serve``: makes maps of scans while they are measured."""

import socket
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mrfpipe.errors import MismatchError, ResourceError
from mrfpipe.files.kinds import NETWORK
from mrfpipe.files.schemas import DICTIONARY
from mrfpipe.run.by import MapsBy, MatchBy, NetworkBy

from .imaging_options import imaging_options
from .options import Settings, common_options, device_option
from .paths import Input, Place

if TYPE_CHECKING:
    from mrfpipe.imaging.choices import Imaging
    from mrfpipe.run.mapper import Mapper

PORT = 9002
"""Standard port of MRD servers."""


@click.command()
@click.option(
    "-d",
    "--dictionary",
    "dictionaries",
    type=Input(DICTIONARY),
    multiple=True,
    metavar="DICT.h5",
    help="Offer matching with this dictionary under its file name; may be repeated. The first is the default.",
)
@click.option(
    "--model",
    "models",
    type=Input(NETWORK),
    multiple=True,
    metavar="MODEL",
    help="Offer this network under its folder name; may be repeated. [default: the bundled pretrained networks]",
)
@click.option(
    "-o", "--output", type=Place(folder=True), metavar="OUT", help="Also write a result folder for every scan here."
)
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=PORT,
    show_default=True,
    help="Port to listen on; 0 for a free port.",
)
@device_option
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
    """Receive scans over MRD streaming (OpenRecon, FIRE, Gadgetron) and return their maps as images.

    The configuration of the client selects `matching` or `network`; by default the server matches if it has a
    dictionary. Every slice is reconstructed as soon as it is complete. The server handles one connection at a time,
    prints a line for each, and runs until interrupted. It has no authentication: let only the scanner reach it.

    Example: mrfpipe serve -d t1ff.h5
    """
    try:
        listening = socket.create_server((host, port))
    except OSError as e:
        cause = e.strerror or e
        raise ResourceError(f"Cannot listen on {host}:{port}: {cause}; choose another --host or --port.") from e
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
        settings.say(f"listening on {host}:{listening.getsockname()[1]} for scans with {names}; interrupt to stop")
        server.serve(listening)


def _named(by: dict[Path, MapsBy]) -> dict[str, "Mapper"]:
    """Read dictionaries or networks, and name each by its file or folder."""
    from mrfpipe.run.by import load_mapper

    named: dict[str, Mapper] = {}
    for path, one in by.items():
        name = path.resolve().stem if path.is_file() else path.resolve().name
        if name in named:
            raise MismatchError(f"Two dictionaries or networks are called {name}, the second is {path}; rename one.")
        named[name] = load_mapper(one, path)
    return named
