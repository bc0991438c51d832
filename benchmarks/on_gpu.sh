#!/bin/sh
# Everything that waits for an NVIDIA GPU, in one command from the root of the tree: the tests of CUDA code against its
# twins on the CPU, then the timings. Needs Python with torch (CUDA), numba-cuda and what benchmarks/README.md names;
# sigpy, nibabel and ismrmrd are not used.
#
#     sh benchmarks/on_gpu.sh
set -e
python3 -m pip install --quiet --no-deps --no-build-isolation .
python3 -m pytest -m cuda -o filterwarnings=default tests/test_cuda.py
python3 benchmarks/simulate.py --device cuda
python3 benchmarks/match.py --device cuda
python3 benchmarks/reconstruct.py --device cuda
