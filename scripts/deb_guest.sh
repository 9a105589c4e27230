#!/bin/sh
# SPDX-License-Identifier: MIT
# What `make test-deb` runs in a Debian 13 that is thrown away after it: `deb_guest.sh install OLDER
# NEWER` in its root on the host's processor, where DKMS builds in a minute, then in guests that
# have this root `deb_guest.sh set-up OLDER NEWER` and, booted with systemd, `deb_guest.sh use OLDER
# NEWER`.
set -eu
part=$1
older=$2
newer=$3
kept=/root/test-deb
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive

fail() {
	echo "test-deb: $*" >&2
	exit 1
}

# All that packages may touch, but the books of dpkg, apt and debconf, the key that DKMS makes once to sign modules, what
# serves the guest's tests, and what any first boot leaves.
listing() {
	find /etc /usr /var /opt /boot /srv -xdev \
		'(' -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/cache/apt -o -path /var/log \
		-o -path /var/cache/debconf -o -path '/var/lib/dkms/mok.*' -o -path /usr/lib/fusebpf-guest \
		-o -path /var/cache/apparmor -o -path /var/cache/ldconfig/aux-cache -o -path /var/lib/dbus/machine-id \
		-o -path /var/lib/systemd/linger -o -path /var/lib/systemd/random-seed -o -path /var/lib/systemd/timers \
		-o -path '/var/tmp/systemd-private-*' -o -path /etc/.updated -o -path /var/.updated ')' -prune \
		-o -print | sort
}

add() {
	apt-get install --yes --no-install-recommends "$@"
}

has_version() {
	found=$(dpkg-query --show --showformat '${Version}' "$1")
	[ "$found" = "$2" ] || fail "$1 is of version $found, not $2"
}

dkms_has_only() {
	dkms status
	[ "$(dkms status | cut -d, -f1)" = "fusebpf/$1" ] || fail "DKMS has another version than $1"
	dkms status | grep -q ': installed' || fail "DKMS installed no module"
}

hides() {
	[ "$(ls "$kept/mnt")" = readme ] || fail "$1: the mount shows: $(ls "$kept/mnt")"
	[ "$(cat "$kept/mnt/readme")" = open ] || fail "$1: readme has another content"
	! cat "$kept/mnt/id_rsa" 2>/dev/null || fail "$1: the filter hides nothing"
}

# What a set held of the module is freed after umount(8), when RCU's grace periods are over.
unload() {
	end=$(($(date +%s) + 60))
	until [ "$(cat /sys/module/fusebpf/refcnt)" = 0 ]; do
		[ "$(date +%s)" -lt "$end" ] || fail "the module stays in use for a minute after umount"
		sleep 0.1
	done
	rmmod fusebpf
}

install_and_upgrade_module() {
	# dpkg as a Debian has it: the guest's root leaves documentation out.
	rm -f /etc/dpkg/dpkg.cfg.d/*
	mkdir "$kept"
	dpkg --install build/test-deb/needed/archives/*.deb >"$kept/needed" 2>&1 || {
		cat "$kept/needed"
		fail "what the packages need could not be installed"
	}
	listing >"$kept/before"
	add ./build/test-deb/older/*.deb
	dkms_has_only "$older"
	add ./build/test-deb/newer/fusebpf-dkms_*.deb
	has_version fusebpf-dkms "$newer"
	has_version fusebpf "$older"
	dkms_has_only "$newer"
}

set_up() {
	[ "$(command -v fusebpf)" = /usr/bin/fusebpf ] || fail "fusebpf is $(command -v fusebpf)"
	fusebpf --version
	# The help of all commands, each of which is imported only when it is asked for.
	python3 -m fusebpf.cli.pages "$kept/pages" || fail "a command does not take Debian's click"
	for page in man1/fusebpf.1.gz man1/fusebpf-attach.1.gz; do
		[ -s "/usr/share/man/$page" ] || fail "no man page $page"
	done
	[ -s /usr/share/bash-completion/completions/fusebpf ] || fail "no completion for bash"

	mkdir "$kept/lower" "$kept/mnt" /etc/fusebpf
	echo open >"$kept/lower/readme"
	echo secret >"$kept/lower/id_rsa"
	fusebpf compile /usr/share/doc/fusebpf/examples/hide_secrets.py -o /etc/fusebpf/hide_secrets.bpf.o
	echo "$kept/lower $kept/mnt fuse_bpf filter=hide_secrets,ro 0 0" >>/etc/fstab
	modinfo --field filename fusebpf | grep /updates/dkms/ || fail "the module is not the one of DKMS"
	! grep -qw fuse_bpf /proc/filesystems || fail "the module is loaded before the first mount"
}

use_upgrade_and_purge() {
	unit=$(systemd-escape --path --suffix=mount "$kept/mnt")
	systemctl is-active "$unit" || {
		systemctl status --no-pager "$unit" || true
		fail "the line of fstab was not mounted at boot"
	}
	[ -s /sys/kernel/btf/fusebpf ] || fail "the module has no BTF"
	hides "mounted at boot"

	add ./build/test-deb/newer/fusebpf_*.deb
	has_version fusebpf "$newer"
	hides "upgraded meanwhile"
	fusebpf ls
	umount "$kept/mnt"
	mount --all --types fuse_bpf
	hides "mounted by the new version"

	dpkg --listfiles fusebpf fusebpf-dkms >"$kept/files"
	rm -r /etc/fusebpf
	apt-get purge --yes fusebpf fusebpf-dkms
	hides "purged meanwhile"
	umount "$kept/mnt"
	unload

	while read -r file; do
		[ -d "$file" ] || [ ! -e "$file" ] || fail "left after the purge: $file"
	done <"$kept/files"
	listing >"$kept/after"
	if ! diff "$kept/before" "$kept/after" >"$kept/left"; then
		cat "$kept/left"
		fail "the purge did not leave what there was (< before, > after)"
	fi
	echo "purged, nothing left"
}

case $part in
install) install_and_upgrade_module ;;
set-up) set_up ;;
use) use_upgrade_and_purge ;;
*) fail "no part $part" ;;
esac
