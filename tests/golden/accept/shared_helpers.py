"""Helpers that many filters call with whole names, and those that must stay a copy in each."""
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *
filters = FilterSet("shared")
KEYS = {".env", "id_rsa", ".netrc", "id_ed25519"}
strict = filters.config("strict", bool, default=True)

def key(name: Name) -> bool:
    return name in KEYS or name.glob("*.p[ek]?") or name.lower().startswith("secret")

def odd(ctx: Context, name: Name, least: int) -> bool:
    """Calls another one, looks at parts and bytes, loops, and has no use for its context."""
    found = key(name)
    for i in range(8):
        if name[i] == 64:
            return True
    if least < len(name) and name[-4:] in {".tmp", ".bak", ".swp"}:
        found = True
    return found or name.glob("*-*-v?")

def alike(old: Name, new: Name) -> bool:
    return old[:3] == new[:3] or (key(old) and key(new))

def hidden(ctx: Context, name: Name) -> bool:
    return name.startswith(".")

def listed(ctx: Context, name: Name) -> bool:
    """Has no use for its context, and what it calls has none either."""
    return hidden(ctx, name) or name in {"lost+found", "Thumbs.db", "desktop.ini", ".DS_Store"}

def part(name: Name) -> bool:
    """Asked of parts of names, too."""
    return name in {".git", ".hg", ".svn", "CVS", "_darcs"} or name.endswith(".orig")

def own(ctx: Context, name: Name) -> bool:
    return ctx.uid == 7 and key(name)

@filters.lookup.pre
def look(ctx: Context, name: Name):
    if odd(ctx, name, 5) or listed(ctx, name) or part(name[1:]):
        return -ENOENT

@filters.mkdir.pre
def make(ctx: Context, req: MkdirIn, name: Name):
    if key(name) or odd(ctx, name, 1) or part(name) or own(ctx, name):
        return -EPERM

@filters.unlink.pre
def remove(ctx: Context, name: Name):
    if part(name) or own(ctx, name) or listed(ctx, name):
        return -EACCES
    if strict and odd(ctx, name, len(name)):
        return -EPERM

@filters.rename.pre
def move(ctx: Context, req: Rename2In, old_name: Name, new_name: Name):
    if alike(old_name, new_name) or alike(new_name, old_name) or own(ctx, new_name):
        return -EPERM
    if ctx.uid == 7 and alike(old_name, old_name):
        return -EACCES

@filters.readdir.post
def listing(ctx: Context, req: ReadIn, out: ReadOut, entries: Dirents):
    for entry in entries:
        if odd(ctx, entry.name, 3) or listed(ctx, entry.name) or key(entry.name):
            entry.drop()
