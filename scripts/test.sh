#!/bin/sh
# The whole proof: lint, then every test in parallel. Tests run even when lint failed; either failing fails.
set -u
cd "$(dirname "$0")/.."
status=0
scripts/lint.sh || status=$?
# loadgroup keeps tests that share a costly fixture (xdist_group) in one process.
.venv/bin/pytest -n auto --maxprocesses 8 --dist loadgroup "$@" || status=$?
exit $status
