#!/usr/bin/env bash
# .venv with everything that the tests need, from the hashed requirements. Does nothing when it is up to date.
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/bootstrap/lib.sh

[ .venv/.complete -nt tests/requirements.txt ] && exit 0
deploy/bootstrap/tools.sh venv
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "Python 3.11 or newer is needed, this is $(python3 --version)."
say "making .venv from tests/requirements.txt"
python3 -m venv .venv
.venv/bin/python -m pip install -qq --disable-pip-version-check --require-hashes --requirement tests/requirements.txt
touch .venv/.complete
