#!/bin/sh
# Everything that waits for an NVIDIA GPU, in one command from the root of the tree: the tests of CUDA code against its
# twins on the CPU, what Compute Sanitizer says of the kernels, then the timings of parts and of whole commands. Needs
# Python with torch (CUDA), numba-cuda and what benchmarks/README.md names. Wheels of what is missing, and of mrfpipe, may
# lie in the folder .whl.
#
#     sh benchmarks/on_gpu.sh
site=$(mktemp -d)
python3 -m pip install --quiet --no-index --no-deps --upgrade --target "$site" .whl/*.whl 2>/dev/null
ls .whl/mrfpipe-*.whl >/dev/null 2>&1 ||
    python3 -m pip install --quiet --no-deps --no-build-isolation --target "$site" . || exit 1
export PYTHONPATH="$site" PYTHONUNBUFFERED=1
if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck; do
        timeout 80 compute-sanitizer --tool "$tool" python3 -m pytest -q -m cuda -o filterwarnings=default \
            -k "t1ff-small and (epg or spoiled or 8)" tests/test_cuda.py >"$site/$tool" 2>&1 &
    done
fi
timeout 150 python3 -m pytest -m cuda -o filterwarnings=default tests/test_cuda.py
wait
for tool in memcheck racecheck; do
    echo "compute-sanitizer $tool"
    grep -hE "due to|hazard|ERROR SUMMARY|passed|failed" "$site/$tool" | sort | uniq -c
done
timeout 120 python3 benchmarks/on_gpu.py
timeout 130 python3 benchmarks/commands.py
