#!/usr/bin/env bash
# The few programs that the other steps call: python3 with venv (tests), curl-free otherwise.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

missing=()
have python3 || missing+=(python3)
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
[ ${#missing[@]} -eq 0 ] && exit 0
can_install || fail "missing: ${missing[*]}" "Install them with your package manager and run this again."
apt_install "${missing[@]}"
