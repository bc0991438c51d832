"""What several tests need: small protocols, exact transforms, random signals."""

import dataclasses
import re
from importlib import resources

import numpy as np
import torch

from mrfpipe.dictionary import Dictionary
from mrfpipe.learning.encoding import Encoding
from mrfpipe.learning.model import TrainedModel
from mrfpipe.learning.network import initial_network
from mrfpipe.learning.presets import PRESETS
from mrfpipe.learning.scaling import MapScaling
from mrfpipe.maps import ParameterMaps
from mrfpipe.matching.brute import match_brute
from mrfpipe.matching.exact import match_exact
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.protocol import Protocol, parse_protocol

SAME_SCORE = 1e-5
"""Relative: float32 sums of up to 20 products, and the rounding margin of the search."""


def small_protocol(*, matrix: int = 48, **keys: object) -> Protocol:
    """The train of t1ff-small on a small matrix.

    Keyword arguments replace the value of a key everywhere it stands, those named as a parameter its ranges.
    """
    text = (resources.files("mrfpipe.dictionaries") / "t1ff-small.toml").read_text()
    for key, value in {"matrix": matrix, **keys}.items():
        of_parameter, of_key = rf"(\[parameters\.{key}\](?:\n[^\[\n].*)*?\nranges = ).*", rf"^({key} = ).*$"
        text, n = re.subn(of_parameter, rf"\g<1>{value}", text)
        text, m = re.subn(of_key, rf"\g<1>{value}", text, flags=re.MULTILINE)
        n += m
        assert n, f"{key} is not a key of the protocol"
    return parse_protocol(text, "small")


def opposed_protocol(shift: float, fat_fraction: str) -> Protocol:
    """One fat peak that makes half a turn, at 200 Hz, until the one echo time; water and fat may have the same T1.

    Off-resonance, a phase common to all frames, has one value.
    """
    return small_protocol(
        te_ms=2.5,
        t2_ms=60.0,
        amplitudes="[1.0]",
        shifts_hz=f"[{shift}]",
        FF=fat_fraction,
        T1H2O="[[300, 900, 100]]",
        T1fat="[[300, 600, 100]]",
        df="[[0, 0, 1]]",
        B1="[[0.4, 1.0, 0.15]]",
    )


def exact_dft(images: np.ndarray, trajectory: np.ndarray) -> np.ndarray:
    """s(k) = sum of m(y, x) exp(-2 pi i (kx x + ky y) / N), term by term. Shapes (..., y, x), (..., 2) to (..., k)."""
    n = images.shape[-1]
    x = np.arange(n) - n // 2
    k = trajectory.reshape(-1, 2).astype(float)
    along_x = np.exp(-2j * np.pi * np.outer(k[:, 0], x) / n)
    along_y = np.exp(-2j * np.pi * np.outer(k[:, 1], x) / n)
    samples = np.einsum("...yx,ky,kx->...k", images, along_y, along_x)
    return samples.reshape(*images.shape[:-2], *trajectory.shape[:-1])


def complex_normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Circular complex noise of unit variance."""
    return ((rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / np.sqrt(2)).astype(np.complex64)


def assert_same_matches(dictionary: Dictionary, signals: np.ndarray) -> None:
    """The score is brute force's, and so is the entry unless another one scores the same."""
    exact, brute = match_exact(signals, dictionary), match_brute(signals, dictionary)
    np.testing.assert_allclose(exact.score, brute.score, rtol=SAME_SCORE)
    other = exact.entry != brute.entry
    ours, theirs = (scores_in_double(dictionary, signals[other], m.entry[other]) for m in (exact, brute))
    np.testing.assert_allclose(ours, theirs, rtol=SAME_SCORE)
    # The entry we name really has the score we state.
    np.testing.assert_allclose(scores_in_double(dictionary, signals, exact.entry), exact.score, rtol=SAME_SCORE)


def scores_in_double(dictionary: Dictionary, signals: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    entries, signals = dictionary.entries(numbers).astype(complex), signals.astype(complex)
    overlap = np.abs(np.sum(entries.conj() * signals, axis=1)) ** 2
    return overlap / np.sum(np.abs(entries) ** 2, axis=1) / np.sum(np.abs(signals) ** 2, axis=1)


def parameter_maps(
    *, mask: np.ndarray, edge: np.ndarray | None = None, affine: np.ndarray | None = None, **images: np.ndarray
) -> ParameterMaps:
    """Maps of T1-FF in SI units by name, and quality maps by field; NaN is put outside the mask."""
    images = {name: np.where(mask, image, np.nan).astype(np.float32) for name, image in images.items()}
    return ParameterMaps(
        parameters=PARAMETERS,
        si={p.name: images.pop(p.name) for p in PARAMETERS},
        **images,
        edge=np.zeros(mask.shape, np.uint8) if edge is None else edge,
        mask=mask,
        affine=np.eye(4) if affine is None else affine,
    )


def with_maps(maps: ParameterMaps, *, mask: np.ndarray | None = None, **images: np.ndarray) -> ParameterMaps:
    """Replace maps by name, in SI units, or quality maps by field."""
    si = {name: images.pop(name, image).astype(np.float32) for name, image in maps.si.items()}
    return dataclasses.replace(maps, si=si, mask=maps.mask if mask is None else mask, **images)


def image_of(maps: ParameterMaps, name: str) -> np.ndarray:
    """A map in SI units by the parameter's name, or a quality map by its field."""
    return maps.si[name] if name in maps else getattr(maps, name)


def untrained_model(
    protocol: Protocol, encoding: Encoding | None = None, record: dict[str, object] | None = None
) -> TrainedModel:
    """A network of preset small with random weights, for frames or what an encoding makes of them."""
    n_values = protocol.sequence.n_frames if encoding is None else encoding.mean.size
    architecture = PRESETS["small"].architecture(protocol.sequence.n_frames, len(protocol.parameters))
    architecture = dataclasses.replace(architecture, n_inputs=2 * n_values)
    return TrainedModel(
        network=initial_network(architecture, torch.Generator().manual_seed(0)).eval(),
        architecture=architecture,
        scaling=MapScaling.of(protocol),
        encoding=encoding,
        sequence_hash=protocol.sequence.hash,
        protocol_hash=protocol.hash,
        protocol_toml=protocol.toml,
        record=record or {},
    )
