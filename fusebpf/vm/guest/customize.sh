#!/bin/sh
# SPDX-License-Identifier: MIT
# Finishes the guest root: mmdebstrap runs this on the host with the root as $1.
set -eu
root=$1
wheels=$2

# The mirror is this machine's business, not the guest's: it has no network.
rm -f "$root/etc/apt/sources.list" "$root"/etc/apt/sources.list.d/*
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*

inside() {
	env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 chroot "$root" "$@"
}

# The guest's own Python: bcc comes from the system, the rest from the wheels fetched outside.
# In no place where a host's tree may be shared.
venv=/usr/lib/fusebpf-guest
mkdir "$root/wheels"
cp "$wheels"/*.whl "$root/wheels/"
inside python3 -m venv --system-site-packages $venv
inside $venv/bin/pip install --quiet --no-index --find-links /wheels \
	--disable-pip-version-check --root-user-action=ignore -r /dev/stdin <"$wheels/requirements.txt"
rm -rf "$root/wheels"

# `fusebpf` runs from the host's tree, which the runner puts on this Python's path at boot.
cat >"$root$venv/bin/fusebpf" <<'EOF'
#!/usr/lib/fusebpf-guest/bin/python3
import sys

from fusebpf.cli import main

sys.exit(main())
EOF
chmod 755 "$root$venv/bin/fusebpf"

# git refuses trees of another owner; in the guest everything is root's, shares are the host's.
printf '[safe]\n\tdirectory = *\n' >"$root/etc/gitconfig"
echo fusebpf >"$root/etc/hostname"
printf '127.0.0.1 localhost fusebpf\n::1 localhost\n' >"$root/etc/hosts"
