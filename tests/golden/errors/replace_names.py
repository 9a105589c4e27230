from fusebpf import Buffer, Context, FilterSet, GetxattrIn, GetxattrOut, Name
from fusebpf.constants import EPERM

filters = FilterSet("s")


def change(name: Name):
    name[:] = "x"


@filters.lookup.pre
def looked(ctx: Context, name: Name):
    part = name[1:]
    name[0] = 3
    name[2:] = "x"
    name[:] = ".."
    name[:] = "a/b"
    name[:] = 5
    name[:] = name.lower()
    change(name)
    if part == "x":
        return -EPERM


@filters.unlink.pre
def removed(ctx: Context, name: Name):
    name[:] = "other"


@filters.getxattr.post
def got(ctx: Context, req: GetxattrIn, name: Name, result: Buffer, out: GetxattrOut):
    name[:] = "user.x"
    result[:] = name
