#!/bin/sh
# SPDX-License-Identifier: MIT
# Every static check; `lint.sh quick` all but those of the kernel code, `lint.sh kernel` only those.
set -eu
cd "$(dirname "$0")/.."
bin=.venv/bin
failed=

step() {
	name=$1
	shift
	if "$@"; then
		echo "lint: $name ok"
	else
		echo "lint: $name FAILED" >&2
		failed="$failed $name"
	fi
}

spdx() {
	# The licence stands in the first line, or in the second below "#!".
	files=$(mktemp) && git ls-files -z >"$files" && "$bin/python" scripts/spdx.py <"$files"
	checked=$?
	rm -f "$files"
	return "$checked"
}

shell_scripts() {
	find scripts fusebpf kernel vagrant tests .ci '(' -name '*.sh' -o -path .ci/run ')' -exec shellcheck {} +
}

# No typing errors: struct classes (OpenIn), the kernel's own words, mistakes made on purpose.
codespell_identifiers='\b[A-Z][a-z]+(In|Out)\b|\bcaf\b'
codespell_words=iput,iput_final,wronly,opne,fliters,nmae,limt,retrun,fro,imort

what=${1:-all}

if [ "$what" != kernel ]; then
	step ruff "$bin/ruff" check --quiet .
	step format "$bin/ruff" format --quiet --check .
	# mypy takes no directory without Python in it.
	typed=$(for tree in fusebpf tests examples kernel scripts vagrant; do
		[ -z "$(find "$tree" -name '*.py' -print -quit)" ] || echo "$tree"
	done)
	# shellcheck disable=SC2086 # one word per directory
	step mypy "$bin/mypy" --strict --no-error-summary $typed
	step codespell "$bin/codespell" --ignore-regex "$codespell_identifiers" \
		--ignore-words-list "$codespell_words" --skip 'tests/golden/*' \
		fusebpf bpf kernel scripts tests vagrant examples docs Makefile ./*.md
	step shellcheck shell_scripts
	step licences spdx
fi

if [ "$what" != quick ]; then
	root=$("$bin/python" -m fusebpf.vm info --json |
		"$bin/python" -c 'import json, sys; d = json.load(sys.stdin); print(d["root"] if d["prepared"] else "")')
	if [ -n "$root" ]; then
		step checkpatch "$bin/python" kernel/build.py checkpatch --root "$root"
		step sparse "$bin/python" kernel/build.py sparse --root "$root"
		step unset "$bin/python" kernel/build.py unset --root "$root"
	else
		echo "lint: checkpatch, sparse and unset left out: they need the guest root (make vm)"
	fi
fi

[ -z "$failed" ] || {
	echo "lint: failed:$failed" >&2
	exit 1
}
