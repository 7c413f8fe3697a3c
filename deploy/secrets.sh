#!/usr/bin/env bash
# Makes the secrets of the overlays, each in a file of its own, unless they are there. They are never printed.
# The folder is the caller's alone (0700); the containers' user 1000 gets single files of it by mount.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 077
folder=${SANDRUN_SECRETS:-deploy/secrets}
mkdir -p "$folder"
chmod 0700 "$folder"

keep() { # NAME: standard input becomes the secret, unless it exists
    [ -e "$folder/$1" ] || cat >"$folder/$1"
    # As root the file can belong to the containers' user; otherwise the folder alone guards it.
    if [ "$(id -u)" = 0 ]; then
        chown 1000:1000 "$folder/$1" && chmod 0600 "$folder/$1"
    elif [ "$(id -u)" != 1000 ]; then
        chmod 0644 "$folder/$1"
    fi
}

random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

random | keep admin_key
random | keep join_token
random | keep metrics_key
keep tls_certificate </dev/null
keep tls_key </dev/null
