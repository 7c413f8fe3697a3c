#!/usr/bin/env bash
# make test: lint, types, layers, unit tests, fault tests, then the real images. Nothing is skipped without Docker: it fails.
# The hostile suite against sandrun is a run of its own (make hostile) until it is green on a busy machine too.
set -euo pipefail
cd "$(dirname "$0")/.."

deploy/images.sh
deploy/bootstrap/venv.sh
make --no-print-directory check
PYTHONPATH=services/broker:services/node .venv/bin/python -m pytest --ignore tests/hostile "$@"
