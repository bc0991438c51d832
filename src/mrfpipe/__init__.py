"""mrfpipe: Magnetic Resonance Fingerprinting from raw scan to quantitative maps.

The modules in the order in which the data goes through them:

protocol     what is measured, in what, and what is searched for
physics      what water and fat emit during the sequence
dictionary   all fingerprints of a grid, as components in an SVD basis
acquisition  raw scans and trajectories
imaging      k-space to a series of frames
files        results on disk, written whole or not at all
phantom      raw scans whose truth is known
matching     the fingerprint each voxel is most like
learning     networks that replace the matching
evaluation   how far maps are from a reference
pipeline     raw scan to maps, by either path
"""

from importlib.metadata import version

__version__ = version("mrfpipe")
