"""The version of mrfpipe, in a separate module so that it can be imported without anything else."""

from importlib.metadata import version

__version__ = version("mrfpipe")
