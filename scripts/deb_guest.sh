#!/bin/sh
# SPDX-License-Identifier: MIT
# What `make test-deb` runs in a guest: `deb_guest.sh fusebpf` or `deb_guest.sh fusebpf-dkms`.
set -eu
part=$1
work=$(mktemp -d)

fail() {
	echo "test-deb: $*" >&2
	exit 1
}

# All that packages may touch, but the books of dpkg, apt and debconf, and the key that DKMS makes once to sign modules.
listing() {
	find /etc /usr /var /opt /boot /srv -xdev \
		'(' -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/cache/apt -o -path /var/log \
		-o -path /var/cache/debconf -o -path '/var/lib/dkms/mok.*' ')' -prune \
		-o -print | sort
}

# dpkg as a Debian has it: the guest's root leaves documentation out.
rm -f /etc/dpkg/dpkg.cfg.d/*
dpkg --install build/deb/needed/archives/*.deb >"$work/needed" 2>&1 || {
	cat "$work/needed"
	fail "what the packages need could not be installed"
}
listing >"$work/before"

install_part() {
	apt-get install --yes --no-install-recommends --reinstall "./$(ls build/deb/"$part"_*.deb)"
}

use_fusebpf() {
	cd /
	[ "$(command -v fusebpf)" = /usr/bin/fusebpf ] || fail "fusebpf is $(command -v fusebpf)"
	fusebpf --version
	for page in man1/fusebpf.1.gz man1/fusebpf-attach.1.gz; do
		[ -s "/usr/share/man/$page" ] || fail "no man page $page"
	done
	[ -s /usr/share/bash-completion/completions/fusebpf ] || fail "no completion for bash"

	mkdir -p "$work/lower" "$work/mnt" "$work/filters"
	echo open >"$work/lower/readme"
	echo secret >"$work/lower/id_rsa"
	chmod 755 "$work"
	mkdir /etc/fusebpf
	fusebpf compile /usr/share/doc/fusebpf/examples/hide_secrets.py -o /etc/fusebpf/hide_secrets.bpf.o
	echo "$work/lower $work/mnt fuse_bpf filter=hide_secrets,ro 0 0" >>/etc/fstab
	mount --all --types fuse_bpf
	[ "$(ls "$work/mnt")" = readme ] || fail "the mount shows: $(ls "$work/mnt")"
	[ "$(cat "$work/mnt/readme")" = open ] || fail "readme has another content"
	! cat "$work/mnt/id_rsa" 2>/dev/null || fail "the filter hides nothing"
	fusebpf ls
	umount "$work/mnt"
	rm -r /etc/fusebpf
	cd - >/dev/null
}

use_dkms() {
	! lsmod | grep -q '^fusebpf ' || rmmod fusebpf
	dkms status
	modinfo --field filename fusebpf | grep /updates/dkms/ || fail "DKMS installed no fusebpf.ko"
	modprobe fusebpf
	grep -qw fuse_bpf /proc/filesystems || fail "the module serves no fuse_bpf"
	[ -s /sys/kernel/btf/fusebpf ] || fail "the module has no BTF"
	rmmod fusebpf
}

case $part in
fusebpf) use=use_fusebpf ;;
fusebpf-dkms) use=use_dkms ;;
*) fail "no package $part" ;;
esac

install_part
$use
if [ "$part" = fusebpf ]; then # installed over itself, as an upgrade is; DKMS takes minutes here
	install_part
	fusebpf --version
fi
dpkg --listfiles "$part" >"$work/files"
apt-get purge --yes "$part"

while read -r file; do
	[ -d "$file" ] || [ ! -e "$file" ] || fail "left after the purge: $file"
done <"$work/files"
listing >"$work/after"
if ! diff "$work/before" "$work/after" >"$work/left"; then
	cat "$work/left"
	fail "the purge did not leave what there was (< before, > after)"
fi
echo "purged, nothing left"
