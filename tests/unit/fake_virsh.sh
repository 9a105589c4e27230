#!/bin/sh
# SPDX-License-Identifier: MIT
# A virsh that keeps a pool, a network and domains as files in $FAKE_VIRSH. Each call is a line of its
# log, with "free" before it where nobody holds the pool's lock. A call whose words begin with
# $FAKE_VIRSH_DIES dies in the middle of what it does.
set -eu
state=$FAKE_VIRSH
pool=$state/pool

while :; do
	case $1 in
	--quiet) shift ;;
	--connect) shift 2 ;;
	*) break ;;
	esac
done
free=
! flock --nonblock "$state/lock" true || free="free "
echo "$free$*" >>"$state/log"

fail() {
	echo "error: $*" >&2
	exit 1
}

in_the_middle() {
	case $* in
	"${FAKE_VIRSH_DIES:-nothing}"*) kill -KILL $$ ;;
	esac
}

case $1 in
list) cat "$state/domains" ;;
pool-info)
	[ -e "$state/defined" ] || fail "no pool"
	[ ! -e "$state/running" ] || echo "State:          running"
	;;
pool-define-as)
	[ ! -e "$state/defined" ] || fail "pool '$2' is already defined"
	: >"$state/defined"
	in_the_middle "$*"
	;;
pool-build) mkdir -p "$pool" ;;
pool-start)
	[ -d "$pool" ] || fail "no directory"
	: >"$state/running"
	;;
pool-refresh) ;;
pool-destroy) rm "$state/running" ;;
pool-delete) rmdir "$pool" ;;
pool-undefine) rm "$state/defined" ;;
vol-info) [ -e "$pool/$2" ] || fail "no volume" ;;
vol-list) ls "$pool" ;;
vol-create-as)
	[ ! -e "$pool/$3" ] || fail "volume '$3' exists"
	truncate -s "$4" "$pool/$3"
	in_the_middle "$*"
	;;
vol-upload)
	[ -e "$pool/$2" ] || fail "no volume"
	head -c 2 "$3" | dd of="$pool/$2" conv=notrunc status=none
	in_the_middle "$*"
	dd if="$3" of="$pool/$2" conv=notrunc status=none
	;;
vol-delete) rm "$pool/$2" ;;
net-info) [ -e "$state/network" ] || fail "no network" ;;
net-undefine) rm "$state/network" ;;
*) fail "what is $1?" ;;
esac
