#!/usr/bin/env bash
# Makes sure of what `make test-image` needs beside Python: podman with runc, and mmdebstrap, which makes bases of Debian's packages.
set -eu

missing() {
    local name
    for name in mmdebstrap podman runc; do
        command -v "$name" >/dev/null || echo "$name"
    done
}

if [ -n "$(missing)" ] && grep -qs '^ID=debian' /etc/os-release; then
    may=
    [ "$(id -u)" = 0 ] || may="sudo -n"
    { $may apt-get -qq update && $may env DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends mmdebstrap podman runc; } >/dev/null 2>&1 || true
fi
if [ -n "$(missing)" ]; then
    echo "The image's tests build and run it with $(missing | paste -sd ' '), which apt-get could not install: install it (Debian: apt-get install mmdebstrap podman runc), then run make test-image again." >&2
    exit 1
fi
