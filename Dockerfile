# unspoken in a container. For CPUs:   docker build -t unspoken .
# For NVIDIA GPUs (the wheels bring CUDA, the host its driver and container toolkit):
#   docker build -t unspoken:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .
# Then: docker run --rm -v "$PWD":/work unspoken run quickstart
#       docker run --rm --gpus all --ipc host -v "$PWD":/work unspoken:cuda run RECIPE
ARG PYTHON=3.12

FROM python:${PYTHON}-slim-bookworm AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=gguf,tensorboard
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src ./src
COPY recipes ./recipes
COPY configs ./configs
RUN python -m venv /opt/unspoken && \
    /opt/unspoken/bin/python -m pip install --no-cache-dir --disable-pip-version-check \
      --extra-index-url "${TORCH_INDEX}" -c constraints.txt ".[${EXTRAS}]"

FROM python:${PYTHON}-slim-bookworm
COPY --from=build /opt/unspoken /opt/unspoken
ENV PATH=/opt/unspoken/bin:$PATH HF_HOME=/work/.cache/huggingface
RUN useradd --create-home --uid 1000 unspoken && mkdir /work && chown unspoken:unspoken /work
USER 1000
WORKDIR /work
ENTRYPOINT ["unspoken"]
CMD ["--help"]
