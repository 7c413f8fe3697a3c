#!/bin/sh
# docker compose exec -T broker broker-backup >backup.tar: a backup of the broker that runs here (docs/operations.md).
exec python -m broker backup "$@"
