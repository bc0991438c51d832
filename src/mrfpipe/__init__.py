"""mrfpipe: Magnetic Resonance Fingerprinting from raw scan to quantitative maps.

The public names are imported on first use, so that ``import mrfpipe`` is instant.

The modules in the order of the data flow:

protocol     sequence, components and parameters to estimate
physics      simulation of signals
dictionary   all fingerprints of a grid, as components in an SVD basis
limit        Cramer-Rao bound of each parameter
acquisition  raw scans and trajectories
imaging      reconstruction of frames or subspace coefficients
files        results on disk, written completely or not at all
phantom      simulated raw scans with ground truth
matching     dictionary matching and refinement
learning     networks that replace or correct matching
evaluation   error metrics against a reference
report       the HTML page of a result
run          from a scan's file to its result, by matching or a network
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mrfpipe.dictionary import Dictionary
    from mrfpipe.errors import MrfpipeError
    from mrfpipe.files.dictionaries import load_dictionary, save_dictionary
    from mrfpipe.files.frames import load_frames
    from mrfpipe.imaging.series import FrameSeries
    from mrfpipe.learning.model import TrainedModel, load_model
    from mrfpipe.maps import ParameterMaps
    from mrfpipe.protocol import Protocol, load_protocol
    from mrfpipe.report.verdict import Check
    from mrfpipe.run.python import bounds, check, load_maps, match, reconstruct, simulate
    from mrfpipe.run.result import Result
    from mrfpipe.version import __version__

__all__ = [
    "Check",
    "Dictionary",
    "FrameSeries",
    "MrfpipeError",
    "ParameterMaps",
    "Protocol",
    "Result",
    "TrainedModel",
    "__version__",
    "bounds",
    "check",
    "load_dictionary",
    "load_frames",
    "load_maps",
    "load_model",
    "load_protocol",
    "match",
    "reconstruct",
    "save_dictionary",
    "simulate",
]

_HOMES = {
    "Check": "report.verdict",
    "Dictionary": "dictionary",
    "FrameSeries": "imaging.series",
    "MrfpipeError": "errors",
    "ParameterMaps": "maps",
    "Protocol": "protocol",
    "Result": "run.result",
    "TrainedModel": "learning.model",
    "__version__": "version",
    "bounds": "run.python",
    "check": "run.python",
    "load_dictionary": "files.dictionaries",
    "load_frames": "files.frames",
    "load_maps": "run.python",
    "load_model": "learning.model",
    "load_protocol": "protocol",
    "match": "run.python",
    "reconstruct": "run.python",
    "save_dictionary": "files.dictionaries",
    "simulate": "run.python",
}
"""The module of each name."""


def __getattr__(name: str) -> object:
    """Import a public name on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
