#!/usr/bin/env bash
# make up: everything from a bare machine to the output of a first job. Running it again is quick and harmless.
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/bootstrap/lib.sh

deploy/images.sh
echo "starting a broker and ${NODES:-3} nodes"
log=$(mktemp)
# The broker first: compose starts nothing before it has replaced everything, so a new broker would wait for nodes to drain.
start() {
    timeout 300 docker compose up --detach --wait --wait-timeout 120 broker >"$log" 2>&1 \
        && timeout 300 docker compose up --detach --wait --wait-timeout 120 --scale "node=${NODES:-3}" >>"$log" 2>&1
}
# Once seen with Compose 2.26 under a newer docker command: "canceled" a second after the start, with nothing wrong.
if ! start && ! { grep -q '^canceled$' "$log" && start; }; then
    docker compose ps --all >&2
    docker compose logs --no-color --tail 15 >&2
    tail -n 5 "$log" >&2
    fail "the bundle did not become healthy; what compose and the containers said is above."
fi
rm -f "$log"
[ -z "${SANDRUN_FIRST_JOB-}" ] || exec $SANDRUN_FIRST_JOB
python3 deploy/first_job.py
