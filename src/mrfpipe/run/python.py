"""Python: the commands as functions, with the same code and defaults, exported by `mrfpipe`."""

import warnings
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from mrfpipe.arrays import Bool, Complex, Double, check_shape, resolve_device
from mrfpipe.basis import DEFAULT_ENERGY
from mrfpipe.dictionary import Dictionary, build_dictionary
from mrfpipe.files.bids import scan_entities
from mrfpipe.files.dictionaries import load_dictionary
from mrfpipe.files.kinds import RAW, refuse_other
from mrfpipe.files.maps import load_maps as load_parameter_maps
from mrfpipe.files.maps import read_maps_provenance
from mrfpipe.files.results import find_fingerprints, find_maps
from mrfpipe.files.schemas import FRAMES
from mrfpipe.imaging.choices import BEST, Imaging, NoiseSource, Recon
from mrfpipe.imaging.coils import MapMethod
from mrfpipe.imaging.mask import tissue_mask
from mrfpipe.imaging.nufft import Backend
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.learning.inference import Precision
from mrfpipe.learning.model import TrainedModel
from mrfpipe.learning.shipped import shipped_model
from mrfpipe.limit import bounds as least_deviations
from mrfpipe.limit import points_of
from mrfpipe.matching.match import Method
from mrfpipe.physics.simulate import Spoiling, signal_model
from mrfpipe.protocol import Protocol, load_protocol
from mrfpipe.report.verdict import Check
from mrfpipe.run.by import BY_NETWORK, MatchBy, NetworkBy, load_mapper
from mrfpipe.run.check import check_scan
from mrfpipe.run.choices import MATCHING, Matching
from mrfpipe.run.mapper import Mapper, MatchMapper, NetworkMapper
from mrfpipe.run.result import Result
from mrfpipe.run.scan import map_scan, map_series
from mrfpipe.run.source import refuse_to_reconstruct

Scan = str | Path | FrameSeries | Complex
"""A raw scan or frames file, a series, or the complex frames of a slice with shape `(frames, y, x)`."""
_CHOICES = {
    "model": Spoiling,
    "method": Method,
    "precision": Precision,
    "recon": Recon,
    "backend": Backend,
    "coil_maps": MapMethod,
    "noise": NoiseSource,
}


def simulate(
    protocol: str | Path | Protocol = "t1ff",
    *,
    model: Spoiling | None = None,
    slice_profile: bool = False,
    rank: int | None = None,
    energy: float | None = None,
    device: str = "auto",
) -> Dictionary:
    """Simulate the dictionary of a protocol, as ``mrfpipe simulate`` does.

    Parameters
    ----------
    protocol
        A protocol, the name of a built-in one, or a TOML file.
    model, slice_profile
        Signal model; by default that of `mrfpipe.physics.simulate.signal_model`.
    rank, energy
        Number of basis vectors to keep, or fraction of the energy of the entries, as for
        `mrfpipe.dictionary.build_dictionary`.
    device
        Device to compute on: auto, cpu, cuda or cuda:N.

    Raises
    ------
    MrfpipeError, ValueError
        As `load_protocol` and `mrfpipe.dictionary.build_dictionary`.
    """
    if model is not None:
        _check(model=model)
    if rank is not None and energy is not None:
        raise ValueError("rank and energy are mutually exclusive.")
    protocol = protocol if isinstance(protocol, Protocol) else load_protocol(protocol)
    return build_dictionary(
        protocol,
        model=signal_model(protocol, model, slice_profile=slice_profile),
        rank=rank,
        energy=DEFAULT_ENERGY if energy is None else energy,
        device=resolve_device(device),
    )


def bounds(
    protocol: str | Path | Protocol,
    at: Mapping[str, npt.ArrayLike] | None = None,
    *,
    snr: float = 100.0,
    model: Spoiling | None = None,
) -> dict[str, Double]:
    """Compute the smallest standard deviations that a protocol allows, as ``mrfpipe limit`` does.

    Parameters
    ----------
    protocol, model
        As for `simulate`.
    at
        Parameters of voxels by name, one value or one per voxel, in the units of files (ms, Hz); others are the median
        of their grid. See `mrfpipe.limit.points_of`.
    snr
        Ratio of M0 to the noise of one readout in a voxel; see `mrfpipe.limit.bounds`.

    Returns
    -------
        Standard deviations by the parameter's name, in the units of files; infinite where a parameter cannot be
        determined. Shape `(voxels)` each.

    Raises
    ------
    MrfpipeError, ValueError
        As `load_protocol`, `simulate` and `mrfpipe.limit.points_of`.
    """
    if model is not None:
        _check(model=model)
    protocol = protocol if isinstance(protocol, Protocol) else load_protocol(protocol)
    points = points_of(protocol, at or {})
    found = least_deviations(protocol, points, snr=snr, model=signal_model(protocol, model))
    return {p.name: found[p.name] * p.scale for p in protocol.parameters}


def match(
    scan: Scan,
    dictionary: str | Path | Dictionary,
    *,
    mask: Bool | None = None,
    method: Method = MATCHING.method,
    refined: bool = MATCHING.refined,
    gap: bool = MATCHING.gap,
    memory: int | None = MATCHING.memory,
    device: str = "auto",
    recon: Recon | None = BEST.recon,
    **imaging: Any,  # noqa: ANN401 - checked where they are used
) -> Result:
    """Match a scan with a dictionary, as ``mrfpipe match`` does.

    Parameters
    ----------
    scan
        A raw scan or frames file; a series; or the complex frames of a slice. Shape `(frames, y, x)`.
    dictionary
        A dictionary, or its file.
    mask
        Voxels to match, for frames given as an array; by default an estimated tissue mask, in which voxels that are
        zero in all frames are air. Shape `(y, x)`.
    method, refined, gap, memory
        As for `mrfpipe.run.choices.Matching`.
    device
        Device to compute on: auto, cpu, cuda or cuda:N.
    recon
        Reconstruction of a raw scan: frame by frame (``nufft``), in a ``subspace`` or ``joint``, which is the default;
        see `mrfpipe.imaging.choices.Imaging`.
    imaging
        Further options of reconstruction: the other fields of `mrfpipe.imaging.choices.Imaging`.

    Raises
    ------
    MrfpipeError
        As the command: if an input cannot be read, or scan and dictionary have different sequences.
    """
    _check(method=method, **({} if recon is None else {"recon": recon}), **imaging)
    matching = Matching(method=method, refined=refined, gap=gap, memory=memory)
    mapper: Mapper
    if isinstance(dictionary, Dictionary):
        mapper = MatchMapper(dictionary=dictionary, matching=matching)
    else:
        mapper = load_mapper(MatchBy(dictionary=Path(dictionary), matching=matching), Path(dictionary))
    return _map(scan, mapper, Imaging(recon=recon, **imaging), mask, device)


def reconstruct(
    scan: Scan,
    model: str | Path | TrainedModel | None = None,
    *,
    mask: Bool | None = None,
    precision: Precision = BY_NETWORK.precision,
    device: str = "auto",
    **imaging: Any,  # noqa: ANN401 - checked where they are used
) -> Result:
    """Estimate the maps of a scan with a network, as ``mrfpipe reconstruct`` does.

    Parameters
    ----------
    scan, mask, device
        As for `match`.
    model
        A network, or its folder; by default the bundled pretrained network for the sequence of the scan.
    precision
        As for `mrfpipe.run.by.NetworkBy`.
    imaging
        As for `match`, except `recon`, which the network determines.

    Raises
    ------
    MrfpipeError
        As the command.
    """
    if "recon" in imaging:
        raise TypeError("The network determines how a raw scan is reconstructed; leave recon out.")
    _check(precision=precision, **imaging)
    if isinstance(model, TrainedModel):
        return _map(scan, NetworkMapper(model=model, precision=precision), Imaging(**imaging), mask, device)
    by = NetworkBy(model=None if model is None else Path(model), precision=precision)
    return _map(scan, load_mapper(by, _network(by, scan)), Imaging(**imaging), mask, device)


def check(
    scan: str | Path,
    dictionary: str | Path | Dictionary,
    *,
    device: str = "auto",
    seed: int = 0,
    **imaging: Any,  # noqa: ANN401 - checked where they are used
) -> Check:
    """Test the assumptions of the signal model on a raw scan, as ``mrfpipe check`` does.

    Parameters
    ----------
    scan
        A raw scan.
    dictionary
        A dictionary, or its file, whose protocol and signal model are tested.
    device, imaging
        As for `match`, except `recon` and `field_map`: the test reconstructs few voxels, in a subspace of its own.
    seed
        Seed of the choice of voxels and of noise.

    Returns
    -------
        Result of the test. Printing it gives the table of the command; ``verdict.best.variant`` is the protocol and
        signal model that explain the scan best.

    Raises
    ------
    MrfpipeError
        As the command.
    """
    if not imaging.keys().isdisjoint({"recon", "field_map"}):
        raise TypeError("check reconstructs in a subspace of its own; leave recon and field_map out.")
    _check(**imaging)
    refuse_other(Path(scan), RAW)
    assumed = dictionary if isinstance(dictionary, Dictionary) else load_dictionary(dictionary)
    chosen, where = Imaging(**imaging), resolve_device(device)
    return check_scan(Path(scan), assumed.protocol, assumed.model, imaging=chosen, device=where, seed=seed)


def load_maps(path: str | Path) -> Result:
    """Load a result from its folder, a folder with a single result, or its maps file.

    Raises
    ------
    InputError
        If the result is missing, of another kind or damaged.
    MismatchError
        If fingerprints and maps belong to different results.
    """
    file = find_maps(path)
    maps = load_parameter_maps(file)
    return Result(
        name=scan_entities(file.resolve().parent),
        maps=maps,
        provenance=read_maps_provenance(file),
        fingerprints=find_fingerprints(file, maps),
    )


def _check(**chosen: object) -> None:
    """Raise TypeError for options and ValueError for values that do not exist."""
    options = [field.name for field in fields(Imaging)]
    for name, value in chosen.items():
        if name not in _CHOICES and name not in options:
            raise TypeError(f"There is no option {name!r}; options of reconstruction are {', '.join(options)}.")
        known = get_args(_CHOICES.get(name))
        if known and value not in known:
            raise ValueError(f"There is no {name} {value!r}; choose {' or '.join(known)}.")


def _network(by: NetworkBy, scan: Scan) -> Path:
    if isinstance(scan, str | Path):
        return by.file(_file(scan))
    if by.model is not None:
        return by.model
    return shipped_model(scan.sequence_hash, scan.kind) if isinstance(scan, FrameSeries) else shipped_model()


def _map(scan: Scan, mapper: Mapper, imaging: Imaging, mask: Bool | None, device: str) -> Result:
    if mask is not None and not isinstance(scan, np.ndarray):
        raise TypeError("A mask is only for frames given as an array; files and series have their own.")
    if isinstance(scan, str | Path):
        result = map_scan(_file(scan), mapper, imaging=imaging, device=resolve_device(device))
    else:
        series = scan if isinstance(scan, FrameSeries) else _series(scan, mask, mapper.protocol)
        refuse_to_reconstruct(series.name, series.kind, imaging)
        result = map_series(series, mapper, device=resolve_device(device))
    if result.warning:
        warnings.warn(result.warning, stacklevel=3)
    return result


def _file(scan: str | Path) -> Path:
    """Refuse a file that is not a scan with an error that says what it is, as the commands do."""
    refuse_other(Path(scan), RAW, FRAMES)
    return Path(scan)


def _series(frames: Complex, mask: Bool | None, protocol: Protocol) -> FrameSeries:
    """Make a series of a protocol from an array; since its position is unknown, the affine is the identity."""
    sizes = check_shape("scan", frames, "frames y x", {"frames": protocol.sequence.n_frames})
    if mask is not None:
        check_shape("mask", mask, "y x", sizes)
    if not np.iscomplexobj(frames):
        raise TypeError(f"Frames must be complex, not {frames.dtype}.")
    images = np.ascontiguousarray(frames, np.complex64)
    if mask is None and not np.all(np.isfinite(images)):
        raise ValueError("scan has values that are not finite; give a mask without them.")
    return FrameSeries(
        name="frames",
        images=images[None],
        mask=(tissue_mask(images) if mask is None else mask)[None],
        affine=np.eye(4),
        sequence_hash=protocol.sequence.hash,
    )
