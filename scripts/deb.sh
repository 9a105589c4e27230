#!/bin/sh
# SPDX-License-Identifier: MIT
# `make deb`: the Debian packages, in build/deb; built in a copy of the tree, for debhelper works in it.
set -eu
cd "$(dirname "$0")/.."
top=$PWD
python=.venv/bin/python

scripts/install.sh "make deb" debhelper dh-dkms dh-python dpkg-dev python3-installer

rm -rf build/deb
mkdir -p build/deb/src/build
git ls-files -z | xargs -0 cp --parents -t build/deb/src
cp -r build/dist build/man build/completion build/deb/src/build/
cd build/deb/src

# The version stands in pyproject.toml alone; the date is that of the last change.
version=$(cd "$top" && $python -c 'import fusebpf; print(fusebpf.__version__)')
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
	echo "make deb: dpkg-buildpackage failed; its whole output: build/deb/log" >&2
	exit 1
fi
cd "$top"
rm -rf build/deb/src
ls build/deb/*.deb
