"""Tables: the data from which phantoms are drawn, as TOML files in the folders ``regions`` and ``tables``."""

import tomllib
from importlib import resources
from typing import Any


def load_table(name: str) -> dict[str, Any]:
    """Read a table that comes with mrfpipe, named by folder and file; lists become tuples."""
    text = (resources.files("mrfpipe.phantom") / f"{name}.toml").read_text(encoding="utf-8")
    table: dict[str, Any] = _tuples(tomllib.loads(text))
    return table


def _tuples(value: Any) -> Any:  # noqa: ANN401 - whatever TOML holds
    if isinstance(value, dict):
        return {key: _tuples(part) for key, part in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
