# pgsearch as a service: `pgsearch worker`, or any other command of its.
FROM python:3.13-slim-trixie

# The CPU build of torch; PyPI's build for Linux brings gigabytes of CUDA along.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

ENV PYTHONUNBUFFERED=1 \
    HF_HOME=/var/cache/huggingface

RUN useradd --system --create-home pgsearch \
 && install --directory --owner=pgsearch "$HF_HOME"

WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY migrations migrations
COPY sql sql
COPY pgsearch pgsearch
RUN pip install --no-cache-dir --extra-index-url "$TORCH_INDEX" \
      --constraint constraints.txt ".[binary,local,http]"

# Away from the sources, so that what runs is what was installed.
WORKDIR /home/pgsearch
USER pgsearch
VOLUME ["/var/cache/huggingface"]
CMD ["pgsearch", "worker"]
