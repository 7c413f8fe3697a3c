#!/bin/sh
# docker compose exec broker broker-keys …: keys of the broker that runs in this container (docs/keys.md).
exec python -m broker keys "$@"
