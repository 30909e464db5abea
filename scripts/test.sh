#!/bin/sh
# The whole proof: lint, then every test in parallel. Tests run even when lint failed; either failing fails.
set -u
cd "$(dirname "$0")/.."
status=0
scripts/lint.sh || status=$?
# Much of a test's time is waiting for servers and processes of its own: half as many again as there are cores.
workers=$((($(getconf _NPROCESSORS_ONLN) * 3 + 1) / 2))
[ "$workers" -le 8 ] || workers=8
# loadgroup keeps tests that share a costly fixture (xdist_group) in one process.
.venv/bin/pytest -n "$workers" --dist loadgroup "$@" || status=$?
exit $status
