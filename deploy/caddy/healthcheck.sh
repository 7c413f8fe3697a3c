#!/bin/bash
# Whether Caddy answers on its plain port (with a redirect), by bash alone: the image has no HTTP client.
exec 3<>/dev/tcp/127.0.0.1/8080 || exit 1
printf 'GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "${SANDRUN_DOMAIN:-localhost}" >&3
read -r -t 2 _ status _ <&3
[ "$status" = 308 ]
