#!/usr/bin/env bash
# Installs Levelburst into .venv from the pinned, hashed requirements, and JAX's part for the
# accelerator at JAX's own pinned version. Doing it again changes nothing.
#
#   experiments/cloud/install.sh cuda13          NVIDIA GPUs (driver 580 or newer)
#   experiments/cloud/install.sh tpu             Cloud TPU VMs
#   experiments/cloud/install.sh cuda13 dev      with Ray and Optuna, for sweeps
set -euo pipefail

kind=${1:?cuda13 or tpu}
pins=requirements/${2:-base}.txt
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if [[ ! -x .venv/bin/pip ]]; then
    # Cloud images often have an older Python than 3.11; uv finds or fetches one.
    command -v uv > /dev/null || python3 -m pip install --quiet --user uv
    PATH="$HOME/.local/bin:$PATH" uv venv --quiet --seed --clear --python 3.12 .venv
fi
pip=(.venv/bin/python -m pip install --quiet --disable-pip-version-check)
"${pip[@]}" --require-hashes --only-binary :all: -r "$pins"
"${pip[@]}" --no-deps --no-build-isolation -e .
version=$(.venv/bin/python -c 'from importlib.metadata import version; print(version("jax"))')
"${pip[@]}" "jax[$kind]==$version"
.venv/bin/python -c 'import jax; print(jax.devices())'
