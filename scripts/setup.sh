#!/bin/sh
# Make, repair or update .venv with one extra of this project: scripts/setup.sh demo|dev
#
# Silent and offline when there is nothing to do. The stamp inside .venv is removed before anything is
# changed and written when everything is there, so whatever interrupts this leaves a folder that the next
# run knows to be half-made. PYTHON names another interpreter.
set -eu
cd "$(dirname "$0")/.."
extra=${1:?usage: scripts/setup.sh demo|dev}
venv=.venv
stamp=$venv/.set-up-finished

say() { printf 'set-up: %s\n' "$*" >&2; }

die() { # message, cure
    say "$1"
    printf '  → %s\n' "$2" >&2
    exit 1
}

recent_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

# Debian keeps ensurepip, and with it pip for a new environment, in the package python3-venv.
makes_environments() { "$1" -c 'import ensurepip, venv; ensurepip.version()' 2>/dev/null; }

find_python() {
    recent=
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        recent_enough "$candidate" || continue
        recent=${recent:-$candidate}
        if makes_environments "$candidate"; then
            python=$candidate
            return
        fi
    done
    [ -n "$recent" ] || die "Python 3.11 or newer is needed, and ${PYTHON:-python3} is not that" \
        "as root: apt-get install python3 python3-venv    (Debian 12 and newer; else: make PYTHON=/path/to/python)"
    die "$recent has no venv or no pip (module ensurepip)" "as root: apt-get install $(basename "$recent")-venv"
}

# What an environment was made for; it holds absolute paths, so a moved folder counts as changed.
fingerprint() { { cat pyproject.toml engine/conveyor/version.py && pwd -P; } | sha256sum | cut -d ' ' -f 1; }

# Where the environment believes to be. Looks for our package without running it: a mistake in our code is
# no reason to make the environment anew.
own_place() {
    "$venv/bin/python" -c 'import pip, sys
from importlib.util import find_spec
print(sys.prefix if find_spec("conveyor") else "")' 2>/dev/null
}

finished() { # and neither damaged, nor moved, nor made by a Python that is gone, nor by another than asked for
    [ -f "$stamp" ] && [ "$(own_place)" = "$(pwd -P)/$venv" ] || return 1
    [ -z "${PYTHON:-}" ] || [ "$("$PYTHON" -V 2>&1)" = "$("$venv/bin/python" -V 2>&1)" ]
}

create() {
    find_python
    if [ -e "$venv" ] || [ -L "$venv" ]; then
        say "$venv is half-made, damaged or for another Python: making it anew"
        rm -rf "$venv" 2>/dev/null || die "$venv cannot be removed by $(id -un)" "remove it as its owner: rm -rf $PWD/$venv"
    fi
    say "creating $venv with $("$python" -V 2>&1)"
    "$python" -m venv "$venv"
}

install() {
    say "installing .[$extra] (the first time takes a minute or two)"
    [ -t 2 ] && quiet= || quiet=--quiet
    # Wheels only: nothing is compiled, and no package's own code runs at set-up.
    wheels="--only-binary :all:"
    # But for the tests' FTP server, pure Python that its makers publish as source alone.
    [ "$extra" != dev ] || wheels="$wheels --no-binary pyftpdlib"
    # Bytecode is made of what is used, when it is used: most of the SDKs never are.
    # shellcheck disable=SC2086
    "$venv/bin/python" -m pip install --disable-pip-version-check --no-compile $quiet $wheels --editable ".[$extra]" ||
        die "pip could not install what is needed" "look above; then again: the next run starts where it is safe"
}

if [ -r pyproject.toml ] && command -v flock >/dev/null; then
    exec 9<pyproject.toml
    flock 9 # two verbs at once: the second waits and finds the work done
fi

want=$(fingerprint)
have=
! finished || have=$(cat "$stamp")
case $have in "dev $want" | "$extra $want") exit 0 ;; esac

[ -w . ] || die "$PWD is not writable for $(id -un)" "work in a clone of your own"
case $have in
    "") create ;;
    "dev "*) extra=dev ;; # never less than was there
esac
rm -f "$stamp" 2>/dev/null || die "$venv belongs to somebody else" "remove it as its owner: rm -rf $PWD/$venv"
install >&2
printf '%s %s\n' "$extra" "$want" >"$stamp.part"
mv "$stamp.part" "$stamp"
say "done"
