from fusebpf import Context, FilterSet, Name, debug

filters = FilterSet("s")


@filters.lookup.pre
def looked(ctx: Context, name: Name):
    debug("name", name)
    debug(1, 2, 3, 4)
    debug("uid", ctx.uid, end="")
    x = debug("y")
    print("uid", ctx.uid)
