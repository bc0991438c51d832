#!/bin/sh
# Train the network that ships on one GPU, scans included; needs what on_gpu.sh needs, and finufft.
#
#     sh benchmarks/train_on_gpu.sh OUT
site=$(mktemp -d)
python3 -m pip install --quiet --no-index --no-deps --upgrade --target "$site" .whl/*.whl 2>/dev/null
ls .whl/mrfpipe-*.whl >/dev/null 2>&1 ||
    python3 -m pip install --quiet --no-deps --no-build-isolation --target "$site" . || exit 1
PYTHONPATH="$site" PYTHONUNBUFFERED=1 python3 -c "from mrfpipe.cli import main; main()" train --phantoms 200 --preset large --protocol t1ff \
    --device cuda --verbose --log "$1.jsonl" -o "$1"
