"""Memory: how much a reconstruction needs, estimated before it begins."""

import numpy as np
from numba import get_num_threads

from mrfpipe.acquisition.scan import RawScan
from mrfpipe.imaging.choices import Imaging
from mrfpipe.imaging.subspace import subspace_memory
from mrfpipe.protocol import Sequence


def memory_needed(scan: RawScan, sequence: Sequence, imaging: Imaging, rank: int | None) -> int:
    """Count the bytes that the reconstruction of a scan takes at its peak, beside the scan.

    Parameters
    ----------
    scan
        The scan, which is reconstructed slice after slice.
    sequence
        Gives the number of frames.
    imaging
        Options of the reconstruction.
    rank
        Basis vectors of a subspace reconstruction; None for one of frames.
    """
    n_samples, n_coils = scan.kspace[0, 0].size, min(scan.n_coils, imaging.virtual_coils)
    image, samples = (np.dtype(np.complex64).itemsize * n for n in (sequence.matrix**2, n_samples))
    kspace = scan.n_coils * samples + (n_coils * samples if n_coils < scan.n_coils else 0)
    # One slice is mapped while the next is reconstructed; the images at single frequencies are summed.
    n_series = min(2, scan.n_slices) + (0 if imaging.field_map is None else 2)
    series = n_series * (rank or sequence.n_frames) * image
    kspace += 0 if imaging.field_map is None else n_coils * samples
    if rank is None:
        # Images with oversampled grids: of all coils for coil maps; of one frame per thread, by sigpy coil by coil.
        n_grids = get_num_threads() * (1 if imaging.nufft == "sigpy" else n_coils)
        work = max(n_coils, n_grids) * 3 * image
    else:
        work = subspace_memory(rank, sequence.matrix, n_samples)
    return int(kspace + n_coils * image + series + work)
