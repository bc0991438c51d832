"""The version of mrfpipe, in a module of its own so that those who record it import nothing else."""

from importlib.metadata import version

__version__ = version("mrfpipe")
