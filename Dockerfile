# mrfpipe in a container, for the CPU or for an NVIDIA GPU. Not yet built by its authors: say so if it fails.
#
#   docker build -t mrfpipe .
#   docker build -t mrfpipe-cuda --build-arg TORCH_INDEX= --build-arg CUDA_PACKAGES=numba-cuda .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/data" mrfpipe match scan.h5 -d t1ff.h5 -o results
#   docker run --rm --gpus all mrfpipe-cuda doctor
#
# A server of scans while they are measured, with the label that OpenRecon wants:
#
#   docker build -t mrfpipe-serve --target serve \
#     --build-arg OPENRECON="$(base64 -w0 src/mrfpipe/run/openrecon.json)" .
#   docker run --rm -p 127.0.0.1:9002:9002 mrfpipe-serve
#
# The libraries are those that the tests ran with (constraints.txt).
FROM python:3.11-slim AS command

# Where torch without CUDA is; empty for torch as it is published, which has CUDA.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# What else a GPU takes; nothing for the CPU.
ARG CUDA_PACKAGES=
ARG EXTRAS=dicom,pulseq

WORKDIR /opt/mrfpipe
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
COPY cli cli
COPY dictionaries dictionaries
RUN pip install --no-cache-dir --constraint constraints.txt ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} \
    ".[$EXTRAS]" $CUDA_PACKAGES

# Any user may run it: compiled kernels and fonts are kept where all may write.
ENV NUMBA_CACHE_DIR=/tmp/numba MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /data
ENTRYPOINT ["mrfpipe"]
CMD ["--help"]

FROM command AS serve
ARG OPENRECON=
LABEL "com.siemens-healthineers.magneticresonance.openrecon.metadata:1.1.0"=$OPENRECON
RUN mrfpipe simulate t1ff -o /opt/mrfpipe/t1ff.h5
EXPOSE 9002
STOPSIGNAL SIGINT
# Within the container all addresses; who reaches it is for the one who starts it to say.
ENTRYPOINT []
CMD ["mrfpipe", "serve", "-d", "/opt/mrfpipe/t1ff.h5", "--host", "0.0.0.0", "--nufft", "finufft"]

# What is built without --target.
FROM command
