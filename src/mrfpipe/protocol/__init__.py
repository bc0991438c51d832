"""Protocol: what is measured, in what, and what is searched for, read from TOML.

Every number of a protocol is written once, in its TOML file (``dictionaries/*.toml`` or the user's own). Units stand in
the key names there and are turned into SI in `mrfpipe.protocol.read` and nowhere else.
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
