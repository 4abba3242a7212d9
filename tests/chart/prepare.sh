#!/usr/bin/env bash
# Sees to what the chart's tests need besides Python and Node packages: promtool, which Debian has in its package prometheus.
# What is there already is taken; else the package is opened where we are, and nothing is installed on the machine.
set -eu
bin=.venv-chart/bin

promtool_runs() { PATH="$PWD/$bin:$PATH" promtool --version >/dev/null 2>&1; }

fetch_promtool() {
    local folder
    grep -qs '^ID=debian' /etc/os-release || return 1
    folder=$(mktemp -d)
    (cd "$folder" && { apt-get -qq download prometheus || { apt-get -qq update && apt-get -qq download prometheus; }; } &&
        dpkg-deb --extract prometheus_*.deb .) >/dev/null 2>&1 && cp "$folder/usr/bin/promtool" "$bin/"
    rm -rf "$folder"
}

promtool_runs || fetch_promtool || true
promtool_runs || { echo "The chart's alerts are tested with promtool, which is not there: install it (Debian: apt-get install prometheus), then run make test-chart again." >&2; exit 1; }
