"""A TOML table that returns checked values, and names the key in every error."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from mrfpipe.arrays import Double
from mrfpipe.errors import InputError


class Table:
    """A table of the file `source`, at `path`: the keys that lead to it, each followed by a dot."""

    def __init__(self, values: Mapping[str, Any], source: str, path: str) -> None:
        self.values, self.source, self.path = values, source, path
        self.seen: set[str] = set()

    def error(self, key: str, complaint: str) -> InputError:
        """Return the error for a key."""
        return InputError(f"{self.source}: {self.path}{key} {complaint}.")

    def take(self, key: str) -> Any:  # noqa: ANN401 - TOML values have any type until checked
        """Return the value of a required key."""
        if not self.has(key):
            raise self.error(key, "is missing")
        return self.values[key]

    def has(self, key: str) -> bool:
        """Return whether a key exists, and remember it as a known key."""
        self.seen.add(key)
        return key in self.values

    def text(self, key: str, default: str | None = None) -> str:
        """Return a text that is not empty."""
        if default is not None and not self.has(key):
            return default
        value = self.take(key)
        if not isinstance(value, str) or not value:
            raise self.error(key, f"must be a text, not {value!r}")
        return value

    def choice(self, key: str, choices: Iterable[str]) -> str:
        """Return a text that must be one of the choices."""
        value = self.text(key)
        if value not in choices:
            raise self.error(key, f"must be one of {', '.join(choices)}, not {value!r}")
        return value

    def table(self, key: str) -> "Table":
        """Return a table inside this one."""
        value = self.take(key)
        if not isinstance(value, dict):
            raise self.error(key, f"must be a table [{key}], not {value!r}")
        return Table(value, self.source, f"{self.path}{key}.")

    def tables(self, key: str) -> "list[Table]":
        """Return the tables of an array of tables, at least one."""
        value = self.take(key)
        if not isinstance(value, list) or not value or not all(isinstance(v, dict) for v in value):
            raise self.error(key, f"must be one or more tables [[{self.path}{key}]]")
        return [Table(v, self.source, f"{self.path}{key}[{i}].") for i, v in enumerate(value)]

    def number(
        self,
        key: str,
        least: float = -np.inf,
        most: float = np.inf,
        above: float = -np.inf,
        default: float | None = None,
    ) -> float:
        """Return a finite number within bounds."""
        if default is not None and not self.has(key):
            return default
        return self._number(key, self.take(key), least, most, above)

    def _number(self, key: str, value: object, least: float, most: float, above: float = -np.inf) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
            raise self.error(key, f"must be a finite number, not {value!r}")
        if not (least <= value <= most and value > above):
            bound = f"above {above:g}" if above > -np.inf else f"from {least:g} to {most:g}"
            raise self.error(key, f"must be {bound}, not {value:g}")
        return float(value)

    def count(self, key: str, least: int = 1, default: int | None = None) -> int:
        """Return an integer of at least `least`."""
        if default is not None and not self.has(key):
            return default
        value = self.take(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.error(key, f"must be a whole number of at least {least}, not {value!r}")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """Return true or false."""
        if not self.has(key):
            return default
        value = self.values[key]
        if not isinstance(value, bool):
            raise self.error(key, f"must be true or false, not {value!r}")
        return value

    def number_or_list(self, key: str, least: float, most: float, default: float | None = None) -> Double:
        """Return numbers within bounds, from a list or a single number. Shape `(numbers)`."""
        if default is not None and not self.has(key):
            return np.array([default])
        value = self.take(key)
        return np.array([self._number(key, v, least, most) for v in (value if isinstance(value, list) else [value])])

    def numbers(self, key: str) -> Double:
        """Return a list of finite numbers."""
        value = self.take(key)
        if not isinstance(value, list) or not value:
            raise self.error(key, f"must be a list of numbers, not {value!r}")
        return np.array([self._number(key, v, -np.inf, np.inf) for v in value])

    def ranges(self, key: str, least: float, most: float) -> Double:
        """Expand a list of ranges ``[start, stop, step]``, both ends included."""
        value = self.take(key)
        if not isinstance(value, list) or not value or not all(isinstance(r, list) and len(r) == 3 for r in value):
            raise self.error(key, f"must be a list of ranges [start, stop, step], not {value!r}")
        axis: list[float] = []
        for numbers in value:
            start, stop, step = (self._number(key, v, -np.inf, np.inf) for v in numbers)
            if step <= 0 or stop < start:
                raise self.error(key, f"has a range {numbers} that does not rise")
            n_steps = round((stop - start) / step)
            if n_steps > 100_000 or abs(start + n_steps * step - stop) > 1e-6 * step:
                raise self.error(key, f"has a range {numbers} whose step does not end at its stop, or too many steps")
            axis.extend(np.linspace(start, stop, n_steps + 1))
        if min(axis) < least or max(axis) > most:
            raise self.error(key, f"must lie from {least:g} to {most:g}")
        if np.any(np.diff(axis) <= 0):
            raise self.error(key, "must rise from range to range")
        return np.array(axis)

    def refuse_unknown(self) -> None:
        """Refuse keys that have not been looked up."""
        unknown = sorted(set(self.values) - self.seen)
        if unknown:
            raise self.error(unknown[0], f"is not known here; known are {', '.join(sorted(self.seen))}")
