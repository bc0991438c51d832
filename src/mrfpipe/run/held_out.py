"""Held out: how well a network corrects the maps of phantoms that it was not trained on.

The phantoms are scanned by the simulated scanner and reconstructed like any raw scan.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from mrfpipe.acquisition.scan import RawScan
from mrfpipe.arrays import Double
from mrfpipe.dictionary import Dictionary
from mrfpipe.evaluation.metrics import evaluate
from mrfpipe.imaging.choices import Imaging
from mrfpipe.imaging.reconstruction import Reconstruction
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.learning.inference import reconstruct
from mrfpipe.learning.model import TrainedModel
from mrfpipe.limit import MEDIAN_OF_NORMAL
from mrfpipe.maps import ParameterMaps
from mrfpipe.matching.joint import fitted
from mrfpipe.matching.match import match_series
from mrfpipe.phantom.anatomy import axial
from mrfpipe.phantom.cohort import Subject
from mrfpipe.phantom.draw import Draw
from mrfpipe.phantom.scanner import scan
from mrfpipe.phantom.truth import Phantom
from mrfpipe.phantom.varied import varied
from mrfpipe.physics.simulate import SignalModel
from mrfpipe.protocol import Protocol
from mrfpipe.quantities import Parameter
from mrfpipe.readout_basis import readout_basis
from mrfpipe.run.examples import FEWEST_COILS, MOST_COILS, NOISIEST, QUIETEST, body_of, generator

CPU = torch.device("cpu")
Scans = Iterator[tuple[Phantom, RawScan]]
"""Phantoms and their raw scans."""
METHODS = ("network", "joint", "frames")
"""Compared methods: the network, the joint reconstruction that it corrects, and refined matching of frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How well a map of some phantoms is estimated."""

    parameter: Parameter
    """Parameter of the map."""
    rmse: dict[str, float]
    """Root mean squared error over all phantoms by each of `METHODS`, where the map counts, in the unit of files."""
    spread: float
    """Median of the network's absolute error divided by its standard deviation, relative to that of normal errors: 1 if
    the standard deviations are right."""

    @property
    def ratio(self) -> float:
        """Error of the network divided by that of the matching that it corrects."""
        return self.rmse["network"] / self.rmse["joint"]


def corrected(
    series: Sequence[FrameSeries], model: TrainedModel, dictionary: Dictionary, device: torch.device
) -> tuple[ParameterMaps, ParameterMaps]:
    """Map the only slice of a scan with a correcting network; return its maps, and the matched maps."""
    matched, _ = match_series(series, dictionary, device=device)
    fit = partial(fitted, dictionary=dictionary, device=device)
    found, _ = reconstruct(series, model, dictionary.protocol, device=device, fit=fit)
    return found, matched


def measure(model: TrainedModel, dictionary: Dictionary, scans: Scans, device: torch.device) -> list[Score]:
    """Score a correcting network on scans of phantoms, each map over all phantoms."""
    protocol = dictionary.protocol
    squares: list[dict[str, dict[str, float]]] = []
    z: dict[str, list[Double]] = {p.name: [] for p in protocol.parameters}
    for phantom, raw in scans:
        network, joint = corrected(coefficients_of(raw, dictionary, device), model, dictionary, device)
        frames, _ = match_series(
            Reconstruction(raw, protocol.sequence, device=device).series(), dictionary, device=device
        )
        errors = [evaluate(maps, phantom.maps) for maps in (network, joint, frames)]
        squares.append(
            {
                p.name: {method: error[p.name].rmse ** 2 for method, error in zip(METHODS, errors, strict=True)}
                for p in protocol.parameters
            }
        )
        for p in protocol.parameters:
            counts = phantom.maps.counts(p) & network.mask
            deviation = (network.sd or {})[p.name][counts].astype(np.float64)
            z[p.name].append((network.si[p.name] - phantom.maps.si[p.name])[counts] / np.maximum(deviation, 1e-30))
    return [
        Score(
            parameter=p,
            rmse={m: float(np.sqrt(np.nanmean([square[p.name][m] for square in squares]))) for m in METHODS},
            spread=float(np.median(np.abs(np.concatenate(z[p.name]))) / MEDIAN_OF_NORMAL),
        )
        for p in protocol.parameters
    ]


def coefficients_of(raw: RawScan, dictionary: Dictionary, device: torch.device) -> list[FrameSeries]:
    """Reconstruct the coefficients of a raw scan as `reconstruct` does, slice by slice."""
    imaging, sequence = Imaging(recon="joint"), dictionary.protocol.sequence
    basis, extended = dictionary.subspace, readout_basis(dictionary)
    return list(Reconstruction(raw, sequence, imaging, basis=basis, readout_basis=extended, device=device))


def held_out_scans(subjects: Sequence[Subject], protocol: Protocol, model: SignalModel, seed: int) -> Scans:
    """Scan one slice of each subject, varied like the training data, each with its own noise and coils."""
    sequence = protocol.sequence
    for number, subject in enumerate(subjects):
        random = generator(CPU, seed, number, 1)
        body = {name: torch.from_numpy(np.array(image)) for name, image in body_of(subject, protocol).items()}
        maps, m0 = varied(body, protocol, random)
        draw, mask = Draw(sequence.matrix, random), (m0 != 0).numpy()[None]
        truth = ParameterMaps.known(
            protocol.parameters,
            {name: np.where(mask, image.numpy(), np.nan).astype(np.float32) for name, image in maps.items()},
            mask,
            axial(sequence.fov / sequence.matrix, sequence.matrix, sequence.slice_thickness, 0.0),
            m0=np.where(mask, m0.abs().numpy(), np.nan).astype(np.float32),
        )
        phantom = Phantom(maps=truth, rois=np.zeros(mask.shape, np.uint8), roi_names=())
        n_coils, snr = int(draw.even(FEWEST_COILS, MOST_COILS + 1)), draw.relative(NOISIEST, QUIETEST)
        yield phantom, scan(phantom, protocol, n_coils=n_coils, snr=snr, seed=subject.seed, model=model)
