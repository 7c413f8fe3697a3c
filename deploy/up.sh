#!/usr/bin/env bash
# make up: everything from a bare machine to the output of a first job. Running it again is quick and harmless.
set -euo pipefail
cd "$(dirname "$0")/.."

echo "building the images"
deploy/images.sh
echo "starting a broker and ${NODES:-3} nodes"
if ! docker compose up --detach --wait --wait-timeout 120 --scale "node=${NODES:-3}" >/dev/null 2>&1; then
    docker compose ps --all >&2
    docker compose logs --no-color --tail 15 >&2
    printf '\nerror: the bundle did not become healthy; its last words are above.\n' >&2
    exit 1
fi
python3 deploy/first_job.py
