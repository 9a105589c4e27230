from fusebpf import Buffer, Context, EntryOut, FilterSet, Name
from fusebpf.constants import EPERM

filters = FilterSet("s")


@filters.lookup.pre
def looked(ctx: Context, name: Name):
    if name[::2] == "a" or name[ctx:] == "a":
        return -EPERM
    if name.glob("*.[é]") or name.glob(5) or name.glob("a/*"):
        return -EPERM
    if name + ".bak" == "a" or name[0] in name or "a" + "b" == name:
        return -EPERM
    for byte in name.lower():
        if byte == 1:
            return -EPERM
    if name.lower() == name or name[300] == 1:
        return -EPERM


@filters.lookup.post
def found(ctx: Context, name: Name, out: EntryOut, entries: Buffer):
    if entries.startswith("a") or len(entries) > 4:
        return -EPERM
