#!/bin/sh
# SPDX-License-Identifier: MIT
# `make dev`: Debian packages and .venv. Does nothing, quickly, when both are as they should be.
set -eu
cd "$(dirname "$0")/.."

die() {
	echo "make dev: $*" >&2
	exit 1
}

packages=$(sed 's/[[:space:]]*#.*//' scripts/packages.txt | grep .)
missing=
for package in $packages; do
	case $(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null || :) in
	ii*) ;;
	*) missing="$missing $package" ;;
	esac
done

if [ -n "$missing" ]; then
	command -v apt-get >/dev/null ||
		die "this is no Debian machine (no apt-get); install by other means:$missing"
	[ "$(id -u)" = 0 ] || die "root is needed once: apt-get install$missing"
	echo "make dev: installing$missing"
	export DEBIAN_FRONTEND=noninteractive
	# Lists may be missing (a fresh image) or older than the mirror's files.
	apt-get update -qq
	# shellcheck disable=SC2086 # one word per package
	apt-get install -y -qq --no-install-recommends $missing </dev/null >/dev/null ||
		die "apt-get could not install:$missing"
fi

# The system's Python: bcc is installed for it, not for another python3 in PATH.
python=/usr/bin/python3
[ -x "$python" ] || die "$python is missing"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
	die "Python 3.11 or newer is needed, $python is $("$python" -V)"

# Redone when the dependencies, the Python or the place of the tree change.
wanted=$({ cat pyproject.toml && "$python" -V && pwd; } | sha256sum | cut -c1-16)
if [ "$(cat .venv/.ready 2>/dev/null || :)" = "$wanted" ]; then
	exit 0
fi
echo "make dev: making .venv"
[ -x .venv/bin/python ] || "$python" -m venv --system-site-packages .venv
# Versions of the system's packages do not count: what is pinned comes into .venv itself.
.venv/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' </dev/null
echo "$wanted" >.venv/.ready
