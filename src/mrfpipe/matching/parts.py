"""Parts: the component signals and shares of all entries, arranged so that entries can be computed by number."""

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from mrfpipe.arrays import Complex, Double, ShortInt
from mrfpipe.dictionary import Dictionary


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parts:
    """Parts of every entry: ``(1 - share) first + share second``, or the signal of a single component."""

    signals: Complex
    """Signals of all components, one after the other, and a signal of zeros at the end. Shape `(signals, rank)`."""
    first: ShortInt
    """Number in `signals` of each entry's first component. Shape `(entries)`."""
    second: ShortInt
    """Number of the second component; that of the zeros if there is one component. Shape `(entries)`."""
    share: Double
    """Share of the second component. Shape `(entries)`."""

    @classmethod
    def of(cls, dictionary: Dictionary) -> "Parts":
        """Return the parts of all entries of a dictionary."""
        protocol, at = dictionary.protocol, dictionary.positions(np.arange(dictionary.n_entries))
        numbers, flat = [], [signals.reshape(-1, dictionary.rank) for signals in dictionary.components]
        offset = 0
        for component, signals in zip(protocol.components, dictionary.components, strict=True):
            index = (
                np.ravel_multi_index([at[name] for name in protocol.axes_of(component)], signals.shape[:-1]) + offset
            )
            numbers.append(index.astype(np.int32))
            offset += int(np.prod(signals.shape[:-1]))
        return cls(
            signals=np.concatenate([*flat, np.zeros((1, dictionary.rank), np.complex64)]),
            first=numbers[0],
            second=numbers[1] if len(numbers) > 1 else np.full(dictionary.n_entries, offset, np.int32),
            share=np.zeros(dictionary.n_entries) if protocol.share is None else dictionary.shares[at[protocol.share]],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PartsOnDevice:
    """`Parts` on a device, to compute entries there."""

    signals: Tensor
    first: Tensor
    second: Tensor
    share: Tensor

    @classmethod
    def of(cls, dictionary: Dictionary, device: torch.device) -> "PartsOnDevice":
        """Copy the parts of a dictionary's entries to a device."""
        parts = Parts.of(dictionary)
        return cls(**{f.name: torch.from_numpy(getattr(parts, f.name)).to(device) for f in fields(cls)})

    def units(self, numbers: Tensor) -> Tensor:
        """Compute entries of unit norm by number. Shape `(entries)` to `(entries, rank)`."""
        share = self.share[numbers][:, None]  # in double precision, and so is the mixture: components may nearly cancel
        entries = (1 - share) * self.signals[self.first[numbers]] + share * self.signals[self.second[numbers]]
        units: Tensor = entries / torch.linalg.vector_norm(entries, dim=1, keepdim=True)
        return units.to(self.signals.dtype)
