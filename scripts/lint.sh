#!/bin/sh
# Style, types and import rules: all of them, even after the first that fails.
set -u
cd "$(dirname "$0")/.."
bin=.venv/bin
status=0

check() { # name, command…: its output only when it fails
    name=$1
    shift
    if output=$("$@" 2>&1); then
        printf 'ok      %s\n' "$name"
    else
        printf 'FAILED  %s\n%s\n' "$name" "$output"
        status=1
    fi
}

check "ruff check" $bin/ruff check --quiet .
check "ruff format" $bin/ruff format --check --quiet --diff .
check "mypy --strict" $bin/mypy
# Without its cache, which keeps what an import meant before a package was there.
check "import rules" $bin/lint-imports --no-cache
exit $status
