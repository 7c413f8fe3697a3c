#!/usr/bin/env bash
# make test: lint, types, layers, unit tests, fault tests, attacks on the real node image, the bundle in containers,
# the dashboard in a browser.
# Nothing is skipped without Docker: it fails.
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/bootstrap/lib.sh

SANDRUN_ALL_IMAGES=1 deploy/images.sh
deploy/bootstrap/venv.sh
deploy/bootstrap/browser.sh
make --no-print-directory check
export PYTHONPATH=services/broker:services/node
# The bound is for a run that does not end; each test has a deadline of its own.
pytest=(timeout --foreground --kill-after 30 2700 .venv/bin/python -m pytest)
[ $# -eq 0 ] || exec "${pytest[@]}" "$@"

# Two runs side by side: tests of bundles and of faults mostly wait (for leases, containers), the others compute.
waiting=(tests/integration tests/failover tests/chaos tests/foreign)
log=$(mktemp)
"${pytest[@]}" -o cache_dir=.pytest_cache/waiting "${waiting[@]}" >"$log" 2>&1 &
waits=$!
trap 'kill "$waits" 2>/dev/null || true' EXIT  # TERM: what a shell starts in the background is deaf to INT
failed=0
"${pytest[@]}" "${waiting[@]/#/--ignore=}" || failed=1
say "waiting for the other run: ${waiting[*]}"
wait "$waits" || failed=1
trap - EXIT
cat "$log"
rm -f "$log"
[ "$failed" -eq 0 ] || fail "tests failed; see above (two runs, one after the other)."
