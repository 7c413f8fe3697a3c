# Sourced by the bootstrap steps: messages, and what this machine is.
# shellcheck shell=bash

say() { printf '  %s\n' "$*" >&2; }
fail() { printf '\nerror: %s\n' "$1" >&2; shift; for line in "$@"; do printf '       %s\n' "$line" >&2; done; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
is_root() { [ "$(id -u)" -eq 0 ]; }

# ID and VERSION_CODENAME of the distribution, empty where there is no os-release.
os_id() { (. /etc/os-release 2>/dev/null && echo "${ID:-}") || true; }
os_codename() { (. /etc/os-release 2>/dev/null && echo "${VERSION_CODENAME:-}") || true; }
is_debian_like() { case "$(os_id)" in debian | ubuntu) have apt-get ;; *) false ;; esac; }
can_install() { is_root && is_debian_like; }

# apt_install PACKAGE...: refreshes the package lists once per run, waits for another apt at most two minutes.
apt_install() {
    say "installing: $*"
    if [ -z "${SANDRUN_APT_UPDATED:-}" ]; then
        apt-get -qq -o DPkg::Lock::Timeout=120 update || say "apt-get update failed; trying with the lists at hand"
        export SANDRUN_APT_UPDATED=1
    fi
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 \
        install --no-install-recommends "$@" >/dev/null
}

# The Debian mirror that this machine's own apt sources name, empty when there is none.
debian_mirror() {
    [ "$(os_id)" = debian ] || return 0
    apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' 2>/dev/null |
        awk -v release="$(os_codename)" '$2 == release { print $1; exit }'
}

# remember NAME VALUE: puts what this machine needs into .env, where every later docker compose finds it too.
remember() {
    grep -qs "^$1=$2$" .env && return 0
    forget "$1"
    # A last line without an end would swallow ours.
    if [ -s .env ] && [ -n "$(tail -c 1 .env)" ]; then echo >>.env; fi
    printf '%s=%s\n' "$1" "$2" >>.env
}
forget() { if grep -qs "^$1=" .env; then sed -i "/^$1=/d" .env; fi; }

# setting NAME: its value from the environment, else from .env, as docker compose sees it.
setting() {
    local value=${!1:-}
    if [ -z "$value" ] && [ -f .env ]; then value=$(sed -n "s/^$1=//p" .env | tail -n 1); fi
    printf '%s' "$value"
}
