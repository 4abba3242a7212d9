#!/usr/bin/env bash
# Makes sure of what `make test-image` needs beside Python: podman with runc, and mmdebstrap, which makes bases of Debian's packages.
set -eu

missing() {
    local name
    for name in mmdebstrap podman runc; do
        command -v "$name" >/dev/null || echo "$name"
    done
}

give_up() {
    echo "$1" >&2
    exit 1
}

[ "$(id -u)" = 0 ] || give_up "The image's tests bound the memory of a container, which takes root: run make test-image as root."
if [ -n "$(missing)" ] && grep -qs '^ID=debian' /etc/os-release; then
    { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends mmdebstrap podman runc; } >/dev/null 2>&1 || true
fi
[ -z "$(missing)" ] || give_up "The image's tests need $(missing | paste -sd ' '), which apt-get could not install: install it (Debian: apt-get install mmdebstrap podman runc), then run make test-image again."
