"""mrfpipe: Magnetic Resonance Fingerprinting from raw scan to quantitative maps.

What a program of one's own needs is here, imported when it is asked for, so that ``import mrfpipe`` takes no time.

The modules in the order in which the data goes through them:

protocol     what is measured, in what, and what is searched for
physics      what the components of a voxel emit during the sequence
dictionary   all fingerprints of a grid, as components in an SVD basis
limit        what a scan can tell of each parameter at best
acquisition  raw scans and trajectories
imaging      k-space to a series of frames
files        results on disk, written whole or not at all
phantom      raw scans whose truth is known
matching     the fingerprint each voxel is most like
learning     networks that replace the matching
evaluation   how far maps are from a reference
report       a result as a page for the browser
run          a scan's file to its result, by matching or by a network
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
    """Import what is asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
