# SPDX-License-Identifier: MIT
"""A hidden name is found by no lookup and listed by no readdir."""
from fusebpf import CONTINUE, POSTFILTER, Context, Dirents, FilterSet, Name, ReadIn, ReadOut, Verdict
from fusebpf.constants import ENOENT

SECRET_NAMES = {".env", ".netrc", "id_rsa", "id_ed25519", "credentials"}
SECRET_SUFFIXES = (".pem", ".key", ".p12", ".kdbx")

filters = FilterSet("hide-everywhere")


def secret(name: Name) -> bool:
    return name in SECRET_NAMES or name.lower().endswith(SECRET_SUFFIXES)


@filters.lookup.pre
def lookup(ctx: Context, name: Name) -> Verdict:
    return -ENOENT if secret(name) else CONTINUE


@filters.readdir.pre
def ask(ctx: Context, req: ReadIn) -> Verdict:
    return POSTFILTER


@filters.readdir.post
def listing(ctx: Context, req: ReadIn, out: ReadOut, entries: Dirents) -> Verdict | None:
    kept = 0
    for entry in entries:
        if secret(entry.name):
            entry.drop()
        else:
            kept += 1
    if kept == 0:
        out.again = 1
    return None
