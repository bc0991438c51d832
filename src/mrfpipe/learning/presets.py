"""Presets: networks and the settings of their training, by name."""

from dataclasses import dataclass, replace

from mrfpipe.learning.architecture import Architecture, build_architecture
from mrfpipe.learning.competitors import Competitor


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """The network to build and how to train it."""

    name: str
    """Short name."""
    receptive_field: int
    """Voxels along y and along x that one voxel of the maps depends on."""
    n_parameters: int
    """Budget of weights and biases."""
    n_nonlinearities: int = 21
    """Convolutions that are followed by a ReLU."""
    spatial_stop: int = 64
    """Channels of the last spatial block."""
    spatial_step: int = 32
    """How many fewer channels each spatial block has than the one before."""
    temporal_stop: int = 32
    """Smallest number of channels of a temporal block's layers."""
    temporal_step: int = 32
    """How many fewer channels each temporal block has than the one before."""
    rank: int | None = None
    """Number of coefficients in the dictionary's basis that encode the frames; None to read the frames themselves."""
    patch_size: int = 32
    """Voxels along y and along x of a patch of the maps."""
    batch_size: int = 20
    """Patches per step."""
    n_epochs: int = 75
    """Number of passes over the training data."""
    learning_rate: float = 1e-3
    """Adam's learning rate at the start."""
    final_learning_rate: float = 1e-3
    """Adam's learning rate at the end; between start and end it falls along half a cosine."""
    weighted: bool = False
    """Whether the squared error of each map, scaled to 0..1, has the weight that the protocol declares; if False, as
    published, all maps have equal weight."""
    settled: float = 0.0
    """Fraction of the epochs, at the end, in which batch normalisation uses its running mean and standard deviation, as
    it does for estimation; 0, as published, for none. Before that, the mean of each batch is subtracted, and with it
    part of the level of maps that hardly vary within a batch, such as df and B1."""
    network: str = "proposed"
    """``proposed``, or one of `NETWORKS`, whose layers do not depend on the receptive field, budget, non-linearities,
    stops and steps above."""
    only_where_counts: bool = False
    """Whether each map is learned only where its parameter counts; if False, as published, everywhere."""

    def architecture(self, n_frames: int, n_maps: int) -> Architecture | Competitor:
        """Build the architecture for a number of frames, which the preset may encode, and a number of maps."""
        if self.network != "proposed":
            n_values = n_frames if self.rank is None else self.rank
            return Competitor(name=self.network, n_inputs=2 * n_values, n_outputs=n_maps)
        return self.proposed(2 * (n_frames if self.rank is None else self.rank), n_maps)

    def proposed(self, n_inputs: int, n_outputs: int) -> Architecture:
        """Build the proposed architecture for given numbers of input and output channels."""
        return build_architecture(
            receptive_field=self.receptive_field,
            n_parameters=self.n_parameters,
            n_inputs=n_inputs,
            n_outputs=n_outputs,
            n_nonlinearities=self.n_nonlinearities,
            spatial_stop=self.spatial_stop,
            spatial_step=self.spatial_step,
            temporal_stop=self.temporal_stop,
            temporal_step=self.temporal_step,
        )


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(name="paper", receptive_field=15, n_parameters=5_000_000),
        Preset(
            name="small",
            receptive_field=5,
            n_parameters=60_000,
            n_nonlinearities=7,
            spatial_stop=24,
            spatial_step=8,
            temporal_stop=16,
            temporal_step=16,
            rank=16,
            # Batch normalisation subtracts the mean of a batch: a batch needs many small patches, or maps that hardly
            # vary within a patch, such as df and B1, lose their level.
            patch_size=8,
            batch_size=64,
            n_epochs=90,
            learning_rate=5e-3,
            final_learning_rate=2e-5,
            # The weights in the protocols were set by hand according to results on small phantoms, so they must not be
            # used in comparisons with other networks.
            weighted=True,
            settled=0.3,
        ),
    )
}
"""Networks that estimate maps from images, by name. ``paper`` is the network of Balsiger et al. (2020) and needs a GPU;
``small`` trains in minutes on a CPU."""

_LARGE = Preset(
    name="large",
    receptive_field=15,
    n_parameters=2_050_000,  # all channels are multiples of 8: a step took 32 ms on an H200, not 38
    spatial_stop=48,
    spatial_step=16,
    temporal_step=16,
    patch_size=32,
    batch_size=128,
    n_epochs=26,
    learning_rate=1.5e-3,
    final_learning_rate=1e-6,
    settled=0.3,
)
CORRECTING = {
    "large": _LARGE,
    "small": replace(
        _LARGE,
        name="small",
        n_parameters=300_000,
        spatial_stop=24,
        spatial_step=8,
        temporal_stop=16,
        temporal_step=8,
        batch_size=8,
        n_epochs=64,
    ),
}
"""Networks that correct the maps of matching, by name. They are trained on phantoms, and an epoch has as many steps as
there are phantoms. ``small``, of which the bundled network for raw scans is one, is meant for a CPU: 48 epochs with 32
phantoms of FISP took 13 minutes on two cores. ``large`` needs a GPU."""
