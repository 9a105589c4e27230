#!/bin/sh
# SPDX-License-Identifier: MIT
# deb.sh [VERSION DIRECTORY]: the Debian packages of this version, here: `make deb` has the tree's in
# build/deb. Built in a copy of the tree, for debhelper works in it.
set -eu
cd "$(dirname "$0")/.."
top=$PWD
# The version stands in pyproject.toml alone.
version=${1:-$(.venv/bin/python -c 'import fusebpf; print(fusebpf.__version__)')}
into=${2:-build/deb}

scripts/install.sh "make deb" debhelper dh-dkms dh-python dpkg-dev python3-installer

# One at a time. Packages that are there stay until the new ones are whole: somebody may read them.
mkdir -p "$(dirname "$into")"
exec 9>"$into.lock"
flock 9
new=$into.new
rm -rf "$new"
mkdir -p "$new/src/build"
git ls-files -z | xargs -0 cp --parents -t "$new/src"
cp -r build/dist build/man build/completion "$new/src/build/"
cd "$new/src"

# The date is that of the last change.
cat >debian/changelog <<END
fusebpf ($version) unstable; urgency=medium

  * Version $version.

 -- $(sed -n 's/^Maintainer: //p' debian/control)  $(git log -1 --format=%cD)
END
sed 's/^$/./; s/^/ /' LICENSES/MIT.txt >mit
sed -i -e '/^@MIT@$/{r mit' -e 'd}' debian/copyright

# The system's Python and debhelper, whatever else is in PATH.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
if ! dpkg-buildpackage --build=binary --unsigned-changes --no-check-builddeps >../log 2>&1; then
	tail -40 ../log >&2
	echo "make deb: dpkg-buildpackage failed; its whole output: $new/log" >&2
	exit 1
fi
cd "$top"
rm -rf "$new/src" "$into"
mv "$new" "$into"
ls "$into"/*.deb
