"""Short sequences for tests of imaging, which looks at none of their times."""

from dataclasses import replace

import numpy as np

from mrfpipe.protocol import Excitations, Sequence


def first_readouts(sequence: Sequence, n: int) -> Sequence:
    """The first n readouts of a sequence, as one train with nothing before it."""
    flip, te, tr = (array[:n] for array in (sequence.flip, sequence.te, sequence.tr))
    return replace(sequence, blocks=(Excitations(flip=flip, te=te, tr=tr, phase=np.zeros(n)),))
