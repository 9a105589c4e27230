#!/bin/sh
# SPDX-License-Identifier: MIT
# `make dev`: Debian packages and .venv. Does nothing, quickly, when both are as they should be.
set -eu
cd "$(dirname "$0")/.."

die() {
	echo "make dev: $*" >&2
	exit 1
}

# shellcheck disable=SC2046 # one word per package
scripts/install.sh "make dev" $(sed 's/[[:space:]]*#.*//' scripts/packages.txt)

# The system's Python: bcc is installed for it, not for another python3 in PATH.
python=/usr/bin/python3
[ -x "$python" ] || die "$python is missing"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
	die "Python 3.11 or newer is needed, $python is $("$python" -V)"

# One at a time: another one may be making .venv.
exec 9<pyproject.toml
flock 9

# Redone when the dependencies, the Python or the place of the tree change.
wanted=$({ cat pyproject.toml && "$python" -V && pwd; } | sha256sum | cut -c1-16)
if [ "$(cat .venv/.ready 2>/dev/null || :)" = "$wanted" ]; then
	exit 0
fi
echo "make dev: making .venv"
# From nothing: what was left half made, or is of another Python or place, is not mended by pip.
"$python" -m venv --clear --system-site-packages .venv
# Versions of the system's packages do not count: what is pinned comes into .venv itself.
.venv/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' </dev/null
echo "$wanted" >.venv/.ready
