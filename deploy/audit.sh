#!/usr/bin/env bash
# make audit: pip-audit over the three locked requirements files. It asks PyPI about each package; without an answer the
# package counts as not audited, and this ends with 1.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pip-audit==2.10.1
status=0
for file in services/broker services/node tests; do
    echo "$file/requirements.txt"
    "$folder/venv/bin/pip-audit" --disable-pip --require-hashes --strict --progress-spinner off \
        --requirement "$file/requirements.txt" || status=1
done
exit $status
