#!/usr/bin/env bash
# Compose v2 and buildx. Debian 12 has neither: there the plug-ins of Debian 13's packages are put where docker looks.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

plugin_directory=/usr/local/lib/docker/cli-plugins

has_plugin() { docker "$1" version >/dev/null 2>&1; }
install_from_own_suite() { # plug-in, candidate packages: the first that this suite has
    local plugin=$1 package
    shift
    for package in "$@"; do
        # Debian 12's docker-compose is the old Python program: only a version 2 or newer is a plug-in.
        if apt-cache policy "$package" 2>/dev/null | grep -Eq 'Candidate: ([0-9]+:)?([2-9]|1[0-9]|0\.[1-9][0-9])' &&
            apt_install "$package" && has_plugin "$plugin"; then
            return 0
        fi
    done
    return 1
}

# install_from_trixie PACKAGE...: unpacks the packages of Debian 13 beside the system's and copies their plug-ins.
install_from_trixie() {
    local mirror work
    mirror=$(debian_mirror)
    [ -n "$mirror" ] || return 1
    work=$(mktemp -d)
    # shellcheck disable=SC2064
    trap "rm -rf '$work'" RETURN
    mkdir -p "$work"/{lists/partial,archives/partial,etc,root}
    echo "deb $mirror trixie main" >"$work/etc/trixie.list"
    local apt=(apt-get -qq -o "Dir::Etc::sourcelist=$work/etc/trixie.list" -o Dir::Etc::sourceparts=/nonexistent
        -o "Dir::State::lists=$work/lists" -o "Dir::Cache::archives=$work/archives" -o APT::Sandbox::User=root)
    "${apt[@]}" update
    (cd "$work/archives" && "${apt[@]}" download "$@")
    local package
    for package in "$work"/archives/*.deb; do dpkg-deb --extract "$package" "$work/root"; done
    install -d "$plugin_directory"
    install -m 0755 "$work"/root/usr/libexec/docker/cli-plugins/docker-* "$plugin_directory/"
}

missing=()
has_plugin compose || missing+=(compose)
has_plugin buildx || missing+=(buildx)
[ ${#missing[@]} -eq 0 ] && exit 0

can_install || fail "Docker's plug-in is missing: ${missing[*]}" \
    "Debian 13 or newer:  apt-get install docker-compose docker-buildx" \
    "Ubuntu:              apt-get install docker-compose-v2 docker-buildx" \
    "or as root:          make up"

if [ "$(os_id)" = debian ] && [ "$(os_codename)" = bookworm ]; then
    say "Debian 12 has no Compose v2: taking the plug-ins of Debian 13's packages"
    install_from_trixie docker-compose docker-buildx || fail "could not fetch docker-compose and docker-buildx of Debian 13."
else
    apt-get -qq update || true
    export SANDRUN_APT_UPDATED=1
    has_plugin compose || install_from_own_suite compose docker-compose-v2 docker-compose || true
    has_plugin buildx || install_from_own_suite buildx docker-buildx || true
fi
has_plugin compose && has_plugin buildx || fail "Compose v2 or buildx could not be installed; install both and run this again."
