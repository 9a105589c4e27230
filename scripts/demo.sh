#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The demo: pack a real tree on the host, boot the guest, run every example on it.
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
fusebpf=$here/.venv/bin/fusebpf
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

echo "packing a checkout of this project and /usr/share/doc"
mkdir "$work/lower"
if [ -e "$here/.git" ]; then
	# Whoever runs this trusts the tree, of whatever owner (a container's root in somebody's clone);
	# the clone's other end reads only a file.
	printf '[safe]\n\tdirectory = *\n' >"$work/gitconfig"
	GIT_CONFIG_GLOBAL=$work/gitconfig git clone -q --no-hardlinks "$here" "$work/lower"
else
	# An unpacked release has no history: make one, so that git has something to look at.
	tar -C "$here" --exclude=./.venv --exclude=./build -cf - . | tar -xf - --no-same-owner -C "$work/lower"
	git -C "$work/lower" init -q
	git -C "$work/lower" add -A
	git -C "$work/lower" -c user.name=demo -c user.email=demo@localhost commit -qm demo
fi
# In the repository's own ignore list, so that `git status` speaks of the secrets alone.
echo /doc >>"$work/lower/.git/info/exclude"
cp -a /usr/share/doc "$work/lower/doc"
# One sequential file: the shared directories are slow with many small ones.
tar -cf "$work/lower.tar" -C "$work/lower" .
rm -rf "$work/lower"

cd "$here"
for example in hide_secrets read_only audit_opens; do
	"$fusebpf" compile "examples/$example.py" -o "$work/$example.o"
done
"$fusebpf" vm run --memory 3072 --timeout 600 --share "$work" -- python scripts/demo_guest.py "$work/lower.tar" "$work"
