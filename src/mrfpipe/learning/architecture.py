"""Architecture: the layers of a network, computed from a receptive field and a budget of parameters.

Algorithm 1 of Balsiger et al., Med Image Anal 64:101741 (2020), with three misprints corrected: the indicator of Eq. 3
is ``i <= N_LT mod N_B``, as the paper's own example requires; the search compares distances to the budget with each
other; and it continues to the last number of channels that fits, where the printed loop ends on the plateau below
C_T,stop.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Alternating temporal and spatial blocks, then one linear 1 x 1 convolution. Tuples have one value per block.

    A receptive field of 1 has one temporal block, followed by a 1 x 1 convolution instead of a spatial block.
    """

    receptive_field: int
    """Voxels along y and along x that one voxel of the output depends on; odd."""
    n_inputs: int
    """Channels of the input: two per frame."""
    n_outputs: int
    """Channels of the output: one per map."""
    layers: tuple[int, ...]
    """Layers of each temporal block (L)."""
    temporal_channels: tuple[int, ...]
    """Channels that each layer of a temporal block adds (C_T)."""
    spatial_channels: tuple[int, ...]
    """Output channels of each spatial block (C_S)."""

    def __post_init__(self) -> None:
        _check_receptive_field(self.receptive_field)
        n_blocks = _count_blocks(self.receptive_field)
        for name in ("layers", "temporal_channels", "spatial_channels"):
            values = getattr(self, name)
            if len(values) != n_blocks or min(values) < 1:
                raise ValueError(
                    f"A receptive field of {self.receptive_field} needs {n_blocks} values of at least 1 in {name}, "
                    f"not {values}."
                )
        if min(self.n_inputs, self.n_outputs) < 1:
            raise ValueError(f"A network needs inputs and outputs, not {self.n_inputs} and {self.n_outputs}.")

    @property
    def margin(self) -> int:
        """Voxels by which the output is smaller than the input on every side."""
        return (self.receptive_field - 1) // 2

    @property
    def spatial_kernel(self) -> int:
        """Side length in voxels of a spatial block's kernel."""
        return 3 if self.receptive_field > 1 else 1

    @property
    def n_nonlinearities(self) -> int:
        """Convolutions that are followed by a ReLU: all but the last."""
        return sum(self.layers) + len(self.spatial_channels)

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases of all convolutions, without those of batch normalisation."""
        return sum(kernel**2 * n_in * n_out + n_out for kernel, n_in, n_out in self.convolutions())

    def convolutions(self) -> Iterator[tuple[int, int, int]]:
        """Yield kernel side, input channels and output channels of every convolution, from input to output."""
        n_channels = self.n_inputs
        for layers, growth, spatial in zip(self.layers, self.temporal_channels, self.spatial_channels, strict=True):
            for _ in range(layers):
                yield 1, n_channels, growth
                n_channels += growth
            yield self.spatial_kernel, n_channels, spatial
            n_channels = spatial
        yield 1, n_channels, self.n_outputs


def build_architecture(
    *,
    receptive_field: int,
    n_parameters: int,
    n_inputs: int,
    n_outputs: int,
    n_nonlinearities: int,
    spatial_stop: int,
    spatial_step: int,
    temporal_stop: int,
    temporal_step: int,
) -> Architecture:
    """Find the architecture of a receptive field whose number of parameters is closest to a budget.

    Parameters
    ----------
    receptive_field, n_inputs, n_outputs
        As in `Architecture`.
    n_parameters, n_nonlinearities, spatial_stop, spatial_step, temporal_stop, temporal_step
        As in `mrfpipe.learning.presets.Preset`; each spatial block has one non-linearity, and the others are
        distributed over the temporal blocks.

    Raises
    ------
    ValueError
        If the receptive field is not odd, there are too few non-linearities to give every block a layer, or even the
        smallest network has more parameters than the budget.
    """
    _check_receptive_field(receptive_field)
    n_blocks = _count_blocks(receptive_field)
    if n_nonlinearities < 2 * n_blocks:
        raise ValueError(
            f"A receptive field of {receptive_field} needs at least {2 * n_blocks} non-linearities, one for each of "
            f"its {n_blocks} temporal and {n_blocks} spatial blocks, not {n_nonlinearities}."
        )
    if min(spatial_stop, temporal_stop) < 1 or min(spatial_step, temporal_step) < 0:
        raise ValueError("The stops of the channels must be at least 1 and their steps at least 0.")
    quotient, remainder = divmod(n_nonlinearities - n_blocks, n_blocks)
    least = Architecture(
        receptive_field=receptive_field,
        n_inputs=n_inputs,
        n_outputs=n_outputs,
        layers=tuple(quotient + (i < remainder) for i in range(n_blocks)),  # Eq. 3
        temporal_channels=(temporal_stop,) * n_blocks,
        spatial_channels=tuple(i * spatial_step + spatial_stop for i in reversed(range(n_blocks))),  # Eq. 2
    )
    if least.n_parameters > n_parameters:
        raise ValueError(
            f"A receptive field of {receptive_field} with {n_nonlinearities} non-linearities needs at least "
            f"{least.n_parameters:,} parameters, more than {n_parameters:,}; allow more, or lower spatial_stop, "
            "spatial_step or temporal_stop."
        )
    return _closest(least, n_parameters, temporal_step)


def _closest(least: Architecture, n_parameters: int, temporal_step: int) -> Architecture:
    """Widen the temporal blocks of `least` until its number of parameters is closest to `n_parameters`."""
    stop = least.temporal_channels[0]

    def widened(start: int) -> Architecture:  # Eqs. 4 and 5
        channels = tuple(max(start - i * temporal_step, stop) for i in range(len(least.layers)))
        return replace(least, temporal_channels=channels)

    # From `stop` on, the number of parameters rises with the start; below it, Eq. 5 changes nothing. So bisection finds
    # the two starts on either side of the budget that the paper's search finds step by step.
    above = stop
    while widened(above).n_parameters < n_parameters:
        above *= 2
    starts = range(stop, above + 1)
    first = bisect_left(starts, n_parameters, key=lambda start: widened(start).n_parameters)
    around = [widened(start) for start in starts[max(first - 1, 0) : first + 1]]
    return min(around, key=lambda architecture: abs(architecture.n_parameters - n_parameters))


def _check_receptive_field(receptive_field: int) -> None:
    if receptive_field < 1 or receptive_field % 2 == 0:
        raise ValueError(f"A receptive field must be an odd number of voxels (1, 3, 5, ...), not {receptive_field}.")


def _count_blocks(receptive_field: int) -> int:
    """Return the number of temporal blocks, which is also the number of spatial blocks."""
    return max(1, (receptive_field - 1) // 2)
