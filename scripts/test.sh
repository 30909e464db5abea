#!/bin/sh
# The whole proof: lint, then every test in parallel. Tests run even when lint failed; either failing fails.
set -u
cd "$(dirname "$0")/.."
status=0
# In a fresh clone the tests' bytecode is made by one process while mypy runs, or else by each of the workers.
[ -d tests/unit/__pycache__ ] || .venv/bin/pytest --collect-only -q >/dev/null 2>&1 &
scripts/lint.sh || status=$?
wait
# Much of a test's time is waiting for servers and processes of its own: twice as many as there are cores.
workers=$(($(getconf _NPROCESSORS_ONLN) * 2))
[ "$workers" -le 8 ] || workers=8
# tests/distribution.py decides which tests share a process.
.venv/bin/pytest -n "$workers" --dist loadgroup "$@" || status=$?
exit $status
