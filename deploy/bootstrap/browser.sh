#!/usr/bin/env bash
# Chromium for the browser tests: Debian's own and a font for what the dashboard's two do not have; elsewhere (Ubuntu's is
# a snap, which does not start in a container) the one that Playwright brings.
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/bootstrap/lib.sh

have chromium && exit 0
if can_install && [ "$(os_id)" = debian ]; then
    apt_install chromium fonts-dejavu-core
    exit 0
fi
say "fetching Playwright's Chromium"
options=()
if can_install; then options+=(--with-deps); fi
.venv/bin/playwright install "${options[@]}" chromium >/dev/null ||
    fail "missing: chromium" "The browser tests need it: install it so that 'chromium' starts it, and run this again."
