#!/usr/bin/env bash
# Builds both images, on a machine with or without Docker, with or without a registry.
set -euo pipefail
cd "$(dirname "$0")/.."

deploy/bootstrap/tools.sh
deploy/bootstrap/engine.sh
deploy/bootstrap/plugins.sh
SANDRUN_BASE_IMAGE=$(deploy/bootstrap/base-image.sh)
export SANDRUN_BASE_IMAGE
log=$(mktemp)
if ! docker compose --progress plain build >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    printf '\nerror: building the images failed; the whole log is in %s\n' "$log" >&2
    exit 1
fi
rm -f "$log"
