"""What is seen, kept and written, each said once; and a counter beside them."""
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *
filters = FilterSet("v")
NAMES = {".env", "id_rsa", ".netrc"}
hits = filters.array("hits", value=u64, max_entries=1)

@filters.visible
def shown(ctx: Context, name: Name) -> bool:
    return not (name in NAMES or name.glob("*.pem"))

@filters.deletable
def kept(ctx: Context, name: Name) -> bool:
    return ctx.uid == 0 or not name.endswith(".keep")

@filters.writable
def may_write(ctx: Context) -> bool:
    return ctx.uid == 0

@filters.lookup.pre
def count(ctx: Context, name: Name):
    hits[0] += 1
