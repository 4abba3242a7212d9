#!/usr/bin/env bash
# Makes sure of the proxies that tests put in front of the broker, of Debian's packages: of the arguments, or of all three.
# The tests start each themselves: no service is left running or enabled.
set -eu
PATH="$PATH:/usr/sbin"

[ $# -gt 0 ] || set -- caddy haproxy nginx
wanted="$*"

missing() {
    local name
    for name in $wanted; do
        command -v "$name" >/dev/null || echo "$name"
    done
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
    $may systemctl disable --now "$@" >/dev/null 2>&1 || true
}

absent=$(missing)
[ -z "$absent" ] || debian_install $absent || true
[ -z "$(missing)" ] || give_up "The tests behind proxies need $(missing | paste -sd ' '), which apt-get could not install: install it (Debian: apt-get install $wanted), then run make again."
