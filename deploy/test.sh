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

# Three runs side by side: tests of bundles and of faults mostly wait (for leases, containers), the third computes. The
# browser goes where time is left.
# tests/chaos, whose leases are the shortest, comes when the others have mostly ended.
waiting=("tests/integration tests/foreign tests/browser" "tests/failover tests/chaos")
logs=$(mktemp -d)
runs=()
ignored=()
trap 'kill "${runs[@]}" 2>/dev/null || true' EXIT  # TERM: what a shell starts in the background is deaf to INT
for paths in "${waiting[@]}"; do
    read -ra folders <<<"$paths"
    name=${folders[0]##*/}
    "${pytest[@]}" -o cache_dir=".pytest_cache/$name" "${folders[@]}" >"$logs/$name" 2>&1 &
    runs+=($!)
    ignored+=("${folders[@]/#/--ignore=}")
done
failed=0
"${pytest[@]}" "${ignored[@]}" || failed=1
say "waiting for the other runs: ${waiting[*]}"
for run in "${runs[@]}"; do
    wait "$run" || failed=1
done
trap - EXIT
cat "$logs"/*
rm -rf "$logs"
[ "$failed" -eq 0 ] || fail "tests failed; see above (${#waiting[@]} runs that waited come after the other)."
