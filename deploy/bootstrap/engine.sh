#!/usr/bin/env bash
# A Docker engine that answers: the running one, else the installed one started, else (root on Debian or Ubuntu) installed.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

engine_log=${SANDRUN_DOCKERD_LOG:-/var/log/sandrun-dockerd.log}

engine_answers() { have docker && timeout 10 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

wait_for_engine() {
    local deadline=$((SECONDS + 60))
    until engine_answers; do
        [ $SECONDS -lt $deadline ] || return 1
        sleep 0.3
    done
}

start_engine() {
    if [ -d /run/systemd/system ]; then
        systemctl start docker
    else
        # No service manager (containers, small VMs): the engine gets a session of its own and outlives this script.
        say "starting dockerd (log: $engine_log)"
        setsid dockerd >"$engine_log" 2>&1 </dev/null &
    fi
    wait_for_engine || fail "the Docker engine did not answer within 60 s." "Its last words: $(tail -n 2 "$engine_log" 2>/dev/null)"
}

engine_answers && exit 0

if ! is_root; then
    if have dockerd || [ -S /var/run/docker.sock ]; then
        fail "Docker is installed but does not answer to user $(id -un)." \
            "Start it and join its group, then log in again:" \
            "  sudo systemctl enable --now docker && sudo usermod -aG docker $(id -un)"
    fi
    fail "no Docker engine found, and only root can install one." \
        "On Debian or Ubuntu:  sudo make up" \
        "Elsewhere install Docker Engine 20.10 or newer with Compose v2, then run this again."
fi

if ! have dockerd; then
    is_debian_like || fail "no Docker engine found." "Install Docker Engine 20.10 or newer with Compose v2, then run this again."
    apt_install docker.io ca-certificates
    have docker || apt_install docker-cli # Debian 13 packs the client apart
fi
engine_answers || start_engine
