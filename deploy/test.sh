#!/usr/bin/env bash
# make test: lint, types, layers, unit tests, fault tests, attacks on the real node image, the bundle in containers,
# the dashboard in a browser.
# Nothing is skipped without Docker: it fails.
set -euo pipefail
cd "$(dirname "$0")/.."

SANDRUN_ALL_IMAGES=1 deploy/images.sh
deploy/bootstrap/venv.sh
deploy/bootstrap/browser.sh
make --no-print-directory check
PYTHONPATH=services/broker:services/node .venv/bin/python -m pytest "$@"
