#!/usr/bin/env bash
# The base image of both services. Pulled when a registry answers; otherwise a stand-in is made from Debian packages.
# Private certificate authorities of this machine (a TLS-intercepting proxy) go into it, so that apt and pip inside
# `docker build` trust what this machine trusts. Prints the image's name on standard output.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

upstream=debian:trixie-slim
with_authorities=sandrun-base:trixie # the pulled image plus this machine's private authorities
stand_in_label=org.sandrun.stand-in
local_authorities=/usr/local/share/ca-certificates

image_exists() { docker image inspect "$1" >/dev/null 2>&1; }
# copy_authorities DIRECTORY: the certificates that this machine trusts beyond its distribution's own, one a file, as
# update-ca-certificates wants them. Sources: the system's bundle, SSL_CERT_FILE and SANDRUN_CA_BUNDLE.
copy_authorities() {
    mkdir -p "$1"
    local distributed=() bundles=() file
    for file in /usr/share/ca-certificates/*/*.crt; do [ -f "$file" ] && distributed+=("$file"); done
    for file in /etc/ssl/certs/ca-certificates.crt "${SSL_CERT_FILE:-}" "${SANDRUN_CA_BUNDLE:-}"; do
        [ -f "$file" ] && bundles+=("$file")
    done
    [ ${#distributed[@]} -gt 0 ] && [ ${#bundles[@]} -gt 0 ] || return 0
    awk -v directory="$1" -v distributed_files=${#distributed[@]} '
        FNR == 1 { files++ }
        /-----BEGIN CERTIFICATE-----/ { body = ""; inside = 1 }
        inside { body = body $0 "\n" }
        /-----END CERTIFICATE-----/ {
            inside = 0
            if (!(body in seen) && files > distributed_files) {
                target = directory "/local-" ++kept ".crt"
                printf "%s", body > target
                close(target)
            }
            seen[body] = 1
        }' "${distributed[@]}" "${bundles[@]}"
}

authorities=$(mktemp -d)
trap 'rm -rf "$authorities"' EXIT
copy_authorities "$authorities/local"
has_local_authorities() { compgen -G "$authorities/local/*.crt" >/dev/null; }

# A name that does not resolve fails at once; a firewall that swallows packets is given up after the time-out.
pull() { timeout "${SANDRUN_PULL_TIMEOUT:-120}" docker pull --quiet "$upstream" >/dev/null 2>&1; }

build_stand_in() {
    say "no registry answers: making a stand-in for $upstream from Debian packages"
    if ! have mmdebstrap; then
        can_install || fail "no registry answers and mmdebstrap is missing." \
            "Install mmdebstrap (or load the image: docker load), then run this again."
        apt_install mmdebstrap debian-archive-keyring gpgv mount
    fi
    local mirror
    mirror=$(setting SANDRUN_DEBIAN_MIRROR)
    mirror=${mirror:-$(debian_mirror)}
    timeout 900 mmdebstrap --quiet --variant=minbase --include=ca-certificates \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-include=/usr/share/doc/*/copyright' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --customize-hook="cp $authorities/local/*.crt \"\$1$local_authorities/\" 2>/dev/null || true" \
        --customize-hook='chroot "$1" update-ca-certificates >/dev/null 2>&1' \
        --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin' \
        trixie "$authorities/base.tar" ${mirror:+"$mirror"}
    docker import --change "LABEL $stand_in_label=1" --change 'CMD ["bash"]' "$authorities/base.tar" "$upstream" >/dev/null
}

add_authorities() {
    say "adding this machine's certificate authorities to the base image"
    timeout 900 docker build --quiet --tag "$with_authorities" --file - "$authorities" >/dev/null <<DOCKERFILE
FROM $upstream
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
COPY local/ $local_authorities/
RUN update-ca-certificates
DOCKERFILE
}

is_stand_in() { [ "$(docker image inspect --format "{{index .Config.Labels \"$stand_in_label\"}}" "$upstream" 2>/dev/null)" = 1 ]; }

image_exists "$upstream" || pull || build_stand_in
if has_local_authorities && ! is_stand_in; then
    image_exists "$with_authorities" || add_authorities
    echo "$with_authorities"
else
    echo "$upstream"
fi
