#!/bin/sh
# SPDX-License-Identifier: MIT
# Finishes the root of a box: mmdebstrap runs this on the host with the root as $1; $2 is the public
# key of whoever may log in, $3 the host's name.
set -eu
root=$1
key=$2
name=$3

inside() {
	env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 chroot "$root" "$@"
}

# The mirror is this machine's business: whoever wants more packages names one.
rm -f "$root/etc/apt/sources.list" "$root"/etc/apt/sources.list.d/*
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*

# Vagrant logs in as this user, and becomes root without a password.
inside useradd --create-home --shell /bin/bash vagrant
install -d -m 700 "$root/home/vagrant/.ssh"
install -m 600 "$key" "$root/home/vagrant/.ssh/authorized_keys"
inside chown -R vagrant:vagrant /home/vagrant/.ssh
echo 'vagrant ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/vagrant"
chmod 440 "$root/etc/sudoers.d/vagrant"

# A machine makes its own identity when it first boots.
: >"$root/etc/machine-id"
rm -f "$root"/etc/ssh/ssh_host_*
mkdir -p "$root/etc/systemd/system/ssh.service.d"
printf '[Service]\nExecStartPre=\nExecStartPre=/usr/bin/ssh-keygen -A\n' \
	>"$root/etc/systemd/system/ssh.service.d/keys.conf"
# Names are not looked up for each login: there may be no server to ask.
echo 'UseDNS no' >"$root/etc/ssh/sshd_config.d/vagrant.conf"

echo "$name" >"$root/etc/hostname"
printf '127.0.0.1 localhost %s\n::1 localhost\n' "$name" >"$root/etc/hosts"
echo '/dev/vda / ext4 errors=remount-ro 0 1' >"$root/etc/fstab"
printf '[Match]\nName=eth*\n\n[Network]\nDHCP=ipv4\n' >"$root/etc/systemd/network/80-dhcp.network"
inside systemctl --quiet enable systemd-networkd.service ssh.service
inside systemctl --quiet disable apt-daily.timer apt-daily-upgrade.timer

if [ -d "$root/usr/src/$(basename "$root"/usr/src/fusebpf-*)" ]; then
	release=$(basename "$root"/lib/modules/*)
	# apt had DKMS build the module; a machine that is emulated would take a quarter of an hour.
	inside dkms status fusebpf -k "$release" | grep -q installed || {
		inside dkms install "$(inside dkms status fusebpf | head -n 1 | cut -d, -f1 | cut -d: -f1)" -k "$release"
	}
	inside dkms status fusebpf -k "$release" | grep installed
	# Only what finds the disk: the whole of it takes an emulated machine long to unpack.
	echo MODULES=list >"$root/etc/initramfs-tools/conf.d/driver-policy"
	printf 'virtio_pci\nvirtio_blk\next4\n' >>"$root/etc/initramfs-tools/modules"
	inside update-initramfs -c -k "$release"
fi
