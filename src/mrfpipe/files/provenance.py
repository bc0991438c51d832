"""Provenance: the inputs, command and software that a result was made with."""

import hashlib
import json
import platform
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Thread

from mrfpipe.errors import InputError
from mrfpipe.version import __version__

Setting = str | int | float | bool | None
_SOFTWARE = ("mrfpipe", "numpy", "torch", "sigpy", "numba")


def software_versions() -> dict[str, str]:
    """Return the versions of Python, mrfpipe and the installed libraries that the values of results depend on."""
    versions = {"python": platform.python_version()}
    for name in _SOFTWARE:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that determines the values of a result; a result with an equal recipe need not be made again.

    The description of the method in words is made from the same values, and is never parsed.
    """

    kind: str
    """Kind of processing: frames, matching or network."""
    scan: str
    """sha256 of the scan's file."""
    by: str | None
    """sha256 of the dictionary file or the network folder; None if there was neither."""
    protocol: str
    """Hash of the protocol."""
    signal_model: str | None = None
    """How the dictionary was simulated; None if there was none."""
    imaging: Mapping[str, Setting]
    """Settings of the reconstruction; empty if the input was a frame series."""
    options: Mapping[str, Setting]
    """All other settings."""
    mrfpipe: str = __version__
    """Version of mrfpipe."""

    def differences(self, other: "Recipe") -> list[str]:
        """Return the names of the settings that differ from another recipe."""
        ours, theirs = _flat(self), _flat(other)
        return [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]


def _flat(recipe: Recipe) -> dict[str, Setting]:
    values = asdict(recipe)
    named = {"by": "dictionary or network", "signal_model": "signal model", "mrfpipe": "version of mrfpipe"}
    plain = {named.get(name, name): value for name, value in values.items() if not isinstance(value, dict)}
    return {**plain, **values["imaging"], **values["options"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """How a result was made; written into every result."""

    command: list[str]
    """The command line, word by word."""
    inputs: dict[str, str]
    """sha256 of every input, by path."""
    protocol_name: str
    """Name of the protocol."""
    protocol_hash: str
    """Hash of the protocol."""
    method: str
    """How the parameters were estimated, in words."""
    device: str
    """Device that computed it."""
    started: str
    """Start in UTC, ISO 8601."""
    duration_s: float
    """Time it took in s."""
    seed: int | None = None
    """Seed of the random numbers, if any were drawn."""
    versions: dict[str, str] = field(default_factory=software_versions)
    """Version of each software."""
    notes: dict[str, object] = field(default_factory=dict)
    """Any further notes; values that can be written as JSON."""
    recipe: Recipe | None = None
    """Everything that determines the values, for comparison; None in results from before recipes existed."""

    def to_json(self) -> str:
        """Write as JSON, keys sorted."""
        return json.dumps(asdict(self), sort_keys=True, allow_nan=False)

    @property
    def result_id(self) -> str:
        """Unique id of the result, even if the same command is run again; ratings refer to results by it.

        It is a sha256 over a fixed set of keys, so that keys added in later versions do not change it.
        """
        kept = (self.inputs, self.protocol_hash, self.method, self.started, self.duration_s)
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()

    @classmethod
    def from_json(cls, text: str) -> "Provenance":
        """Read what `to_json` wrote.

        Raises
        ------
        ValueError
            If the text is not JSON, or a key is missing, unknown or of another type.
        """
        values = json.loads(text)
        names = {f.name for f in fields(cls)}
        if not isinstance(values, dict) or set(values) | {"recipe"} != names:
            raise ValueError(f"Provenance must have the keys {', '.join(sorted(names))}.")
        _check_types(values)
        return cls(**values | {"recipe": _recipe(values.get("recipe"))})


def _recipe(values: object) -> Recipe | None:
    if values is None:
        return None
    if not isinstance(values, dict) or set(values) != {f.name for f in fields(Recipe)}:
        raise ValueError("Provenance has a recipe without all its keys, or with others.")
    recipe = Recipe(**values)
    _require("recipe", all(isinstance(values[name], str) for name in ("kind", "scan", "protocol", "mrfpipe")))
    _require("recipe", all(isinstance(text, str | None) for text in (recipe.by, recipe.signal_model)))
    for settings in (recipe.imaging, recipe.options):
        _require("recipe", isinstance(settings, dict) and all(isinstance(v, Setting) for v in settings.values()))
    return recipe


def _check_types(values: Mapping[str, object]) -> None:
    for name in ("protocol_name", "protocol_hash", "method", "device", "started"):
        _require(name, isinstance(values[name], str))
    for name in ("inputs", "versions"):
        table = values[name]
        _require(name, isinstance(table, dict) and all(isinstance(v, str) for v in table.values()))
    command, seed, duration = values["command"], values["seed"], values["duration_s"]
    _require("command", isinstance(command, list) and all(isinstance(word, str) for word in command))
    _require("notes", isinstance(values["notes"], dict))
    _require("seed", seed is None or (isinstance(seed, int) and not isinstance(seed, bool)))
    _require("duration_s", isinstance(duration, int | float) and not isinstance(duration, bool))


def _require(name: str, holds: bool) -> None:
    if not holds:
        raise ValueError(f"Provenance has a {name} of the wrong type.")


def sha256_of(path: str | Path) -> str:
    """Compute the sha256 of a file; for a folder, of the sorted names and sha256 of all its files.

    Raises
    ------
    InputError
        If a file cannot be read.
    """
    path = Path(path)
    try:
        if not path.is_dir():
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        total = hashlib.sha256()
        for part in sorted(p for p in path.rglob("*") if p.is_file()):
            total.update(f"{part.relative_to(path).as_posix()}\0{sha256_of(part)}\n".encode())
        return total.hexdigest()
    except OSError as e:
        raise InputError(f"{path} cannot be read: {e.strerror or e}; check the path and its permissions.") from e


def sha256_beside(path: Path) -> Callable[[], str]:
    """Start `sha256_of` in a thread; return a function that waits for its result or error.

    The thread is a daemon: if the other work fails, the program does not wait for it.
    """
    future = Future[str]()

    def compute() -> None:
        try:
            future.set_result(sha256_of(path))
        except Exception as e:  # noqa: BLE001 - raised by the function that waits
            future.set_exception(e)

    Thread(target=compute, daemon=True).start()
    return future.result
