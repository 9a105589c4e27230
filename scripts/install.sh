#!/bin/sh
# SPDX-License-Identifier: MIT
# install.sh WHO PACKAGE…: install those Debian packages that are missing, WHO tells why. Does nothing,
# quickly, when none is.
set -eu
who=$1
shift

die() {
	echo "$who: $*" >&2
	exit 1
}

missing=
for package in "$@"; do
	case $(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null || :) in
	ii*) ;;
	*) missing="$missing $package" ;;
	esac
done
[ -n "$missing" ] || exit 0

command -v apt-get >/dev/null ||
	die "this is no Debian machine (no apt-get); install by other means:$missing"
[ "$(id -u)" = 0 ] || die "root is needed once: apt-get install$missing"
echo "$who: installing$missing"
export DEBIAN_FRONTEND=noninteractive
# Lists may be missing (a fresh image) or older than the mirror's files.
apt-get update -qq
# shellcheck disable=SC2086 # one word per package
apt-get install -y -qq --no-install-recommends $missing </dev/null >/dev/null ||
	die "apt-get could not install:$missing"
