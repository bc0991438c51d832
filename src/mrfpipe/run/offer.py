"""Offer: what a client of the server may choose by name; nothing that the client sends is used as a path."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import get_args

from mrfpipe.errors import InputError
from mrfpipe.imaging.choices import Imaging, Recon
from mrfpipe.run.mapper import Mapper

_CHOICES = ("config", "recon", "dictionary", "model")
_UNSAID = ("", "default", "openrecon")


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """The dictionaries, networks and reconstruction that a client may choose from."""

    dictionaries: Mapping[str, Mapper]
    """Mappers that match, by name; the first is the default."""
    networks: Mapping[str, Mapper]
    """Networks, by name; the first is the default."""
    imaging: Imaging
    """How scans are reconstructed, unless the client chooses otherwise."""

    def chosen(self, configurations: list[str]) -> tuple[Mapper, Imaging]:
        """Return the mapper and reconstruction that a client's texts ask for; later texts override earlier ones.

        Each text is a name or JSON. The names are ``matching`` and ``network``; an empty text, ``default`` and
        ``openrecon`` leave the choice to the server, which matches if it has a dictionary. JSON has the keys ``config``
        (one of these names), ``recon``, ``dictionary`` and ``model``, either at the top or, as OpenRecon sends them,
        below ``parameters``.

        Raises
        ------
        InputError
            If the server has no such mapper or reconstruction, or a text cannot be read.
        """
        wanted: dict[str, str] = {}
        for text in configurations:
            wanted |= _wanted(text)
        config = wanted.get("config") or ("matching" if self.dictionaries else "network")
        if config not in {"matching", "network"}:
            raise InputError(f"There is no configuration {_short(config)}; choose matching, network or default.")
        of, key = (self.dictionaries, "dictionary") if config == "matching" else (self.networks, "model")
        name = wanted.get(key) or next(iter(of), "")
        if name not in of:
            names = ", ".join(of) or f"none; start it with --{key}"
            raise InputError(f"The server has no {key} {_short(name)}; it has {names}.")
        recon = wanted.get("recon")
        if not recon:
            return of[name], self.imaging
        for known in get_args(Recon):
            if recon == known:
                return of[name], replace(self.imaging, recon=known)
        raise InputError(f"There is no reconstruction {_short(recon)}; choose nufft, subspace or joint.")


def _wanted(text: str) -> dict[str, str]:
    """Read the choices in one text of a client, without those that it leaves to the server."""
    text = text.strip()
    values: object = {"config": text}
    if text.startswith("{"):
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as e:
            raise InputError(f"The configuration {_short(text)} is not JSON; send a name or JSON.") from e
        values = values.get("parameters", values) if isinstance(values, dict) else values
    if not isinstance(values, dict) or not set(values) <= set(_CHOICES):
        raise InputError(f"The configuration {_short(text)} has keys other than {', '.join(_CHOICES)}.")
    if not all(isinstance(value, str) for value in values.values()):
        raise InputError(f"The configuration {_short(text)} has values that are not text.")
    return {key: value for key, value in values.items() if value not in _UNSAID}


def _short(text: str) -> str:
    """Quote the beginning of a client's text."""
    return repr(text if len(text) <= 40 else f"{text[:40]}...")
