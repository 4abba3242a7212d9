#!/usr/bin/env bash
# Makes sure of what the tests need and PyPI cannot bring: headless Chromium, a C library Node is linked to, and a C compiler
# with OpenSSL's headers, nginx and HAProxy (without them, the short benchmark and rows of tests/chaos are skipped).
# With the argument `compiler`, only the compiler.
# What is there already is taken; else Debian's packages where we may install them, else Playwright's own Chromium.
set -eu
bin=.venv/bin

node_runs() { "$bin/node" --version && "$bin/playwright" --version; } >/dev/null 2>&1  # Playwright has a Node of its own

chromium_is_there() {
    local name
    for name in chromium chromium-browser google-chrome; do
        "$name" --version >/dev/null 2>&1 && return
    done
    node_runs && [ -x "$("$bin/python" -c '
from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    print(playwright.chromium.executable_path)')" ]
}

debian_install() {
    local may=
    [ "$(id -u)" = 0 ] || may="sudo -n"
    grep -qs '^ID=debian' /etc/os-release && $may true 2>/dev/null || return 1
    { $may apt-get -qq update && $may env DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends "$@"; } >/dev/null 2>&1
}

can_compile() { command -v gcc && [ -e /usr/include/openssl/ssl.h ]; } >/dev/null
get_compiler() { can_compile || debian_install gcc libc6-dev libssl-dev || true; }

give_up() {
    echo "$1" >&2
    exit 1
}

if [ "${1:-}" = compiler ]; then
    get_compiler
    exit
fi
node_runs || debian_install libatomic1 || true
node_runs || give_up "Node does not run, most likely for want of libatomic: install it (Debian: apt-get install libatomic1), then run make test again."
chromium_is_there || debian_install chromium || "$bin/playwright" install --no-shell chromium >/dev/null 2>&1 || true
chromium_is_there || give_up "The browser tests need headless Chromium, and neither apt-get nor Playwright could install it: install it, then run make test again."
get_compiler
tests/proxies/prepare.sh haproxy nginx 2>/dev/null || true
