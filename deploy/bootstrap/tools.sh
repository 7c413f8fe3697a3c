#!/usr/bin/env bash
# Python 3 on this machine: for the first job, and with the argument `venv` for the tests too.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

missing=()
have python3 || missing+=(python3)
if [ "${1:-}" = venv ]; then
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
fi
[ ${#missing[@]} -eq 0 ] && exit 0
can_install || fail "missing: ${missing[*]}" "Install them with your package manager and run this again."
apt_install "${missing[@]}"
