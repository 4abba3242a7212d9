#!/usr/bin/env bash
# Makes sure of what `make bench` needs and PyPI cannot bring: a C compiler with OpenSSL's headers, taskset, Apache with
# mod_auth_openidc, and the npm packages of the Node peer. The benchmark starts Apache itself: no service is left running.
set -eu
PATH="$PATH:/usr/sbin"
root=$(cd "$(dirname "$0")/../.." && pwd)
node_folder="$root/tests/benchmarks/peers/node"

missing() {
    command -v gcc >/dev/null || echo gcc libc6-dev
    command -v taskset >/dev/null || echo util-linux
    command -v apache2 >/dev/null || echo apache2
    [ -e /usr/lib/apache2/modules/mod_auth_openidc.so ] || echo libapache2-mod-auth-openidc
    [ -e /usr/include/openssl/ssl.h ] || echo libssl-dev
    "$root/.venv/bin/node" --version >/dev/null 2>&1 || echo libatomic1  # Node is linked to it
}

give_up() {
    echo "$1" >&2
    exit 1
}

debian_install() {
    local may= deny=/usr/sbin/policy-rc.d
    [ "$(id -u)" = 0 ] || may="sudo -n"
    grep -qs '^ID=debian' /etc/os-release && $may true 2>/dev/null || return 1
    if [ ! -e "$deny" ]; then  # Debian asks it whether a package may start its service
        printf '#!/bin/sh\nexit 101\n' | $may tee "$deny" >/dev/null
        $may chmod 755 "$deny"
        trap "$may rm -f $deny" EXIT
    fi
    { $may apt-get -qq update && $may env DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends "$@"; } >/dev/null 2>&1
    $may systemctl disable --now apache2 >/dev/null 2>&1 || true
}

absent=$(missing)
[ -z "$absent" ] || debian_install $absent || true
[ -z "$(missing)" ] || give_up "The benchmark needs $(missing | paste -sd ' '), which apt-get could not install: install it (Debian: apt-get install gcc libc6-dev util-linux apache2 libapache2-mod-auth-openidc libssl-dev libatomic1), then run make bench again."

if [ "$node_folder/package-lock.json" -nt "$node_folder/node_modules/.installed" ]; then
    (cd "$node_folder" && PATH="$root/.venv/bin:$PATH" npm ci --loglevel=error >/dev/null)
    touch "$node_folder/node_modules/.installed"
fi
