#!/usr/bin/env bash
# Builds the images of COMPOSE_FILE (compose.yaml), on a machine with or without Docker, with or without a registry.
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/bootstrap/lib.sh

deploy/bootstrap/tools.sh
deploy/bootstrap/engine.sh
deploy/bootstrap/plugins.sh
deploy/bootstrap/apparmor.sh
base_image=$(deploy/bootstrap/base-image.sh)
if [ "$base_image" = debian:trixie-slim ]; then
    forget SANDRUN_BASE_IMAGE
else
    remember SANDRUN_BASE_IMAGE "$base_image"
fi
# What the images' labels say. The time is the commit's, so that the same commit makes the same labels.
SANDRUN_VERSION=${SANDRUN_VERSION:-$(sed -n 's/^__version__ = "\(.*\)"/\1/p' services/broker/broker/__init__.py)}
SANDRUN_REVISION=${SANDRUN_REVISION:-$(git rev-parse HEAD 2>/dev/null || echo unknown)}
SANDRUN_CREATED=${SANDRUN_CREATED:-$(git log -1 --format=%cI 2>/dev/null || echo unknown)}
export SANDRUN_VERSION SANDRUN_REVISION SANDRUN_CREATED
# The tests look at every image that there is; who starts one overlay needs only its own.
[ -z "${SANDRUN_ALL_IMAGES-}" ] || export COMPOSE_FILE=compose.yaml:deploy/tls.yaml:deploy/monitoring.yaml
log=$(mktemp)
say "building the images (log: $log)"
if ! timeout 1800 docker compose --progress plain build >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    fail "building the images failed; the whole log is in $log"
fi
rm -f "$log"
