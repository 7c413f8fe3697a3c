#!/usr/bin/env bash
# On hosts with AppArmor: Docker's default profile forbids the mounts that build a job's sandbox, and Ubuntu refuses user
# namespaces to programs without a profile. Loads ours (deploy/apparmor-node) and remembers its name for compose.
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/bootstrap/lib.sh

profile=sandrun-node
installed=/etc/apparmor.d/$profile

[ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" = Y ] || exit 0
if cmp -s deploy/apparmor-node "$installed" && grep -qs "^NODE_APPARMOR=$profile$" .env; then exit 0; fi

if ! is_root || ! have apparmor_parser; then
    say "this host uses AppArmor; for a confined node (on Ubuntu 23.10 and newer: for a working one) run once, as root:"
    say "  install -m 0644 deploy/apparmor-node $installed && apparmor_parser --replace $installed"
    say "  echo NODE_APPARMOR=$profile >> .env"
    exit 0
fi
install -m 0644 deploy/apparmor-node "$installed"
apparmor_parser --replace "$installed"
remember NODE_APPARMOR "$profile"
say "AppArmor profile $profile loaded"
