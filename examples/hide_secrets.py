# SPDX-License-Identifier: MIT
"""Secrets do not exist: no lookup finds them, no listing shows them, no name of theirs can be made.

The answer to a lookup is final for every operation that takes a name, so one filter covers
opening, creating, renaming and removing; the other one keeps the names out of listings.
"""

from fusebpf import (
    CONTINUE,
    POSTFILTER,
    Context,
    Dirents,
    FilterSet,
    Name,
    ReadIn,
    ReadOut,
    Verdict,
)
from fusebpf.constants import ENOENT

filters = FilterSet("hide_secrets")

NAMES = {".env", ".netrc", ".git-credentials", "id_rsa", "id_ecdsa", "id_ed25519"}
SUFFIXES = (".pem", ".key", ".p12", ".kdbx")


def secret(name: Name) -> bool:
    return name in NAMES or name.endswith(SUFFIXES)


@filters.lookup.pre
def hide(ctx: Context, name: Name) -> Verdict:
    if secret(name):
        return -ENOENT
    return CONTINUE


@filters.readdir.pre
def ask_for_entries(ctx: Context, req: ReadIn) -> Verdict:
    return POSTFILTER


@filters.readdir.post
def drop_entries(ctx: Context, req: ReadIn, out: ReadOut, entries: Dirents) -> Verdict:
    for entry in entries:
        if secret(entry.name):
            entry.drop()
    return CONTINUE
