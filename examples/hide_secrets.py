# SPDX-License-Identifier: MIT
"""Secrets do not exist: no lookup finds them, no listing shows them, no name of theirs can be made.

One predicate on names decides in every operation that takes one: lookup, readdir, create, mknod,
mkdir, symlink, link, rename, unlink, rmdir. Names that are made below later are covered too.
"""

from fusebpf.filters import hide

NAMES = {".env", ".netrc", ".git-credentials", "id_rsa", "id_ecdsa", "id_ed25519"}
SUFFIXES = (".pem", ".key", ".p12", ".kdbx")

filters = hide(*sorted(NAMES), *(f"*{suffix}" for suffix in SUFFIXES), name="hide_secrets")
