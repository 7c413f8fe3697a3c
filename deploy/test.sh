#!/usr/bin/env bash
# make test: lint, types, layers, unit tests, then everything on the real images. Nothing is skipped without Docker: it fails.
set -euo pipefail
cd "$(dirname "$0")/.."

deploy/images.sh
deploy/bootstrap/venv.sh
make --no-print-directory check
.venv/bin/python -m pytest "$@"
