#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs a command with a libvirt of its own: private_libvirt.sh SCRATCH COMMAND…
#
# To be run in namespaces of its own for mounts, processes and network (vagrant/test.py does): all
# that libvirt and Vagrant keep is on file systems that end with them, so nothing can be left behind,
# however this ends.
set -eu
scratch=$1
shift

fail() {
	echo "private_libvirt.sh: $*" >&2
	exit 1
}

ip link set lo up

# First of all the place for what is in between.
mount -t tmpfs -o mode=755 fusebpf "$scratch"
cp -a /etc/libvirt "$scratch/settings"
mount -t tmpfs -o mode=755 fusebpf /etc/libvirt
cp -a "$scratch/settings/." /etc/libvirt/
rm -rf "$scratch/settings"
rm -f /etc/libvirt/qemu/networks/autostart/*
# The host's control groups and its kernel's AppArmor are not in any of the namespaces.
printf '%s\n' 'cgroup_controllers = []' 'remember_owner = 0' 'security_driver = "none"' >>/etc/libvirt/qemu.conf

for directory in /run /var/lib/libvirt /var/cache/libvirt /var/log/libvirt; do
	mount -t tmpfs -o mode=755 fusebpf "$directory"
done
mkdir -p /run/lock /var/lib/libvirt/images /var/lib/libvirt/dnsmasq "$scratch/tmp" "$scratch/console"
chmod 1777 /run/lock "$scratch/tmp"
export TMPDIR="$scratch/tmp" VAGRANT_HOME="$scratch/home" VAGRANT_DOTFILE_PATH="$scratch/machines"
export FUSEBPF_CONSOLE="$scratch/console" LIBVIRT_DEFAULT_URI=qemu:///system
export VAGRANT_CHECKPOINT_DISABLE=1

virtlogd --daemon || fail "virtlogd does not start"
libvirtd --daemon || fail "libvirtd does not start"
deadline=$(($(date +%s) + 300))
until virsh --quiet version >/dev/null 2>&1; do
	[ "$(date +%s)" -lt "$deadline" ] || fail "libvirtd does not answer: $(virsh version 2>&1)"
	sleep 0.1
done
# Not exec: the first process of the namespace reaps orphans, which libvirtd waits to be gone.
status=0
"$@" || status=$?
exit "$status"
