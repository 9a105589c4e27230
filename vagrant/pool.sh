#!/bin/sh
# SPDX-License-Identifier: MIT
# libvirt's pool "fusebpf": pool.sh fill POOL LOCK BOX VOLUME puts a box's kernel and initramfs there;
# pool.sh empty POOL LOCK removes pool and network when no machine is left. For the Vagrantfile.
set -eu
export LC_ALL=C
what=$1
pool=$2
lock=$3

virsh() {
	command virsh --quiet --connect "${LIBVIRT_DEFAULT_URI:-qemu:///system}" "$@"
}

is_there() { # VOLUME
	virsh vol-info "$1" --pool fusebpf >/dev/null 2>&1
}

# A volume is there before its content is; its mark comes last. Without one it was interrupted.
put() { # FILE VOLUME
	! is_there "$2.whole" || return 0
	! is_there "$2" || virsh vol-delete "$2" --pool fusebpf
	virsh vol-create-as fusebpf "$2" "$(stat -L -c %s "$1")" --format raw
	virsh vol-upload "$2" "$1" --pool fusebpf
	virsh vol-create-as fusebpf "$2.whole" 1 --format raw
}

fill() { # BOX VOLUME
	virsh pool-info fusebpf >/dev/null 2>&1 || virsh pool-define-as fusebpf dir --target "$pool"
	if ! virsh pool-info fusebpf | grep -q '^State: *running'; then
		virsh pool-build fusebpf
		virsh pool-start fusebpf
	fi
	put "$1/kernel" "$2.kernel"
	[ ! -f "$1/initrd" ] || put "$1/initrd" "$2.initrd"
}

empty() {
	! virsh list --all --name | grep -q '^fusebpf_' || return 0
	if virsh pool-info fusebpf >/dev/null 2>&1; then
		virsh pool-refresh fusebpf
		virsh vol-list fusebpf | awk 'NF { print $1 }' | while read -r volume; do
			virsh vol-delete "$volume" --pool fusebpf
		done
		virsh pool-destroy fusebpf
		virsh pool-delete fusebpf
		virsh pool-undefine fusebpf
	fi
	if virsh net-info fusebpf >/dev/null 2>&1; then
		! virsh net-info fusebpf | grep -q '^Active: *yes' || virsh net-destroy fusebpf
		virsh net-undefine fusebpf
	fi
}

# Vagrant may bring up several machines at once.
exec 9>>"$lock"
flock 9

case $what in
fill) fill "$4" "$5" ;;
empty)
	# A machine that is coming up has volumes before it is a domain; its Vagrant holds this.
	exec 8>>"$lock.up"
	! flock --nonblock 8 || empty
	;;
*)
	echo "pool.sh: fill or empty, not $what" >&2
	exit 2
	;;
esac
