from fusebpf import (
    CONTINUE,
    AttrOut,
    Buffer,
    Context,
    EntryOut,
    FilterSet,
    GetattrIn,
    Name,
    SetattrIn,
)

filters = FilterSet("s")


@filters.lookup.post
def owner(ctx: Context, name: Name, out: EntryOut, entries: Buffer):
    if out.attr.uid == 0:
        out.attr.uid = 65534
    out.nodeid = 0


@filters.setattr.post
def size(ctx: Context, req: SetattrIn, out: AttrOut):
    out.attr.size += 1
    return CONTINUE


@filters.getattr.post
def seen(ctx: Context, req: GetattrIn, out: AttrOut):
    out.attr.uid = 65534
