#!/usr/bin/env bash
# Writes the pinned, hashed requirements files (make lock). They hold no registry address.
set -euo pipefail
cd "$(dirname "$0")/.."
lock() {
    # PIP_* and UV_* settings of the machine choose the registry; only names, versions and hashes are written.
    uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
        --python-version 3.11 "$@"
}
lock services/broker/pyproject.toml -o services/broker/requirements.txt
lock services/node/pyproject.toml deploy/node-runtime.in -o services/node/requirements.txt
lock deploy/build.in -o services/node/requirements-build.txt
lock services/broker/pyproject.toml services/node/pyproject.toml tests/requirements.in -o tests/requirements.txt
lock bench/requirements.in --constraint tests/requirements.txt -o bench/requirements.txt
