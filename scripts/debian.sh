#!/bin/sh
# Under CI=true, as root: install the Debian packages that the tests need. Otherwise change nothing.
# `debian.sh long`: those of `make test-long`, too.
#
# No daemon is started on the way: the tests start their own, on free ports (policy-rc.d, see
# invoke-rc.d(8): exit code 101 forbids every action).
set -eu
cd "$(dirname "$0")/.."
[ "${CI:-}" = true ] || exit 0
guard=/usr/sbin/policy-rc.d

wanted=$(grep -v '[#:]' scripts/debian-packages.txt)
[ "${1:-}" != long ] || wanted="$wanted $(sed -n 's/^long: //p' scripts/debian-packages.txt)"
missing=
for package in $wanted; do
    [ "$(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    printf 'CI: missing Debian packages, and no right to install them\n  → as root: apt-get install%s\n' "$missing" >&2
    exit 1
fi

if [ ! -e "$guard" ]; then
    trap 'rm -f "$guard"' EXIT
    trap 'exit 130' INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$guard"
    chmod 755 "$guard"
fi
printf 'CI: installing%s\n' "$missing" >&2
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
output=$(apt-get update 2>&1 && apt-get install --yes --no-install-recommends -o DPkg::Lock::Timeout=300 $missing 2>&1) || {
    printf '%s\nCI: apt-get failed\n' "$output" >&2
    exit 1
}
