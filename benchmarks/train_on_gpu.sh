#!/bin/sh
# Train the network that ships on one GPU, scans included, in seven minutes; needs what on_gpu.sh needs, and finufft.
#
#     sh benchmarks/train_on_gpu.sh OUT
site=$(mktemp -d)
python3 -m pip install --quiet --no-index --no-deps --upgrade --target "$site" .whl/*.whl 2>/dev/null
ls .whl/mrfpipe-*.whl >/dev/null 2>&1 ||
    python3 -m pip install --quiet --no-deps --no-build-isolation --target "$site" . || exit 1
PYTHONPATH="$site" PYTHONUNBUFFERED=1 python3 benchmarks/train_on_gpu.py "$1"
