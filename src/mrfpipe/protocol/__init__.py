"""Protocol: the sequence, the components of the signal and the parameters to estimate, read from TOML.

Every number of a protocol is defined once, in its TOML file (``dictionaries/*.toml`` or the user's own). The names of
keys contain the units; only `mrfpipe.protocol.read` converts them to SI units.
"""

from mrfpipe.protocol.blocks import Block, Delay, Excitations, Inversion, Pulses, Readout, Spoiling, T2Preparation
from mrfpipe.protocol.protocol import Component, Grid, History, Protocol
from mrfpipe.protocol.read import built_in_protocols, load_protocol, parse_protocol
from mrfpipe.protocol.sequence import Sequence

__all__ = [
    "Block",
    "Component",
    "Delay",
    "Excitations",
    "Grid",
    "History",
    "Inversion",
    "Protocol",
    "Pulses",
    "Readout",
    "Sequence",
    "Spoiling",
    "T2Preparation",
    "built_in_protocols",
    "load_protocol",
    "parse_protocol",
]
