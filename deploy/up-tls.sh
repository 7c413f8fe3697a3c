#!/usr/bin/env bash
# make up-tls: the bundle with TLS and keys, from a bare machine to the output of a first job that came through both.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${1-}" = --first-job ]; then
    setting() { # NAME DEFAULT: from the environment, else .env
        local value=${!1-}
        [ -n "$value" ] || value=$(sed -n "s/^$1=//p" .env 2>/dev/null | tail -n 1)
        printf %s "${value:-$2}"
    }
    port=$(setting SANDRUN_HTTPS_PORT 443)
    SANDRUN_URL=https://$(setting SANDRUN_DOMAIN localhost)
    [ "$port" = 443 ] || SANDRUN_URL+=:$port
    SANDRUN_KEY_FILE=${SANDRUN_SECRETS:-deploy/secrets}/admin_key
    export SANDRUN_URL SANDRUN_KEY_FILE
    if [ "$(setting SANDRUN_TLS internal)" = internal ]; then
        # The authority's certificate is no secret: clients need it to know the broker.
        SANDRUN_CA_FILE=${SANDRUN_SECRETS:-deploy/secrets}/root.crt
        docker compose exec -T caddy cat /data/caddy/pki/authorities/local/root.crt >"$SANDRUN_CA_FILE"
        export SANDRUN_CA_FILE
    fi
    exec python3 deploy/first_job.py "${@:2}"
fi

deploy/secrets.sh
COMPOSE_FILE=compose.yaml:deploy/tls.yaml${MONITORING:+:deploy/monitoring.yaml}
# Who names the files has to name this one too.
[ ! -e compose.override.yaml ] || COMPOSE_FILE+=:compose.override.yaml
export COMPOSE_FILE SANDRUN_FIRST_JOB="$PWD/deploy/up-tls.sh --first-job"
exec deploy/up.sh
