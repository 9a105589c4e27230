"""Names without a suffix, one attribute for another, links that stay inside."""
from fusebpf import POSTFILTER, Buffer, Context, FilterSet, GetxattrIn, GetxattrOut, Name

filters = FilterSet("other_names")


@filters.lookup.pre
def without_suffix(ctx: Context, name: Name):
    if name.endswith(".enc") and len(name) > 4:
        name[:] = name[:-4]
    elif name == "current":
        name[:] = "release-7"


@filters.getxattr.pre
def renamed_attribute(ctx: Context, req: GetxattrIn, name: Name):
    if name == "user.owner":
        name[:] = "user.group"
    return POSTFILTER


@filters.getxattr.post
def masked(ctx: Context, req: GetxattrIn, name: Name, result: Buffer, out: GetxattrOut):
    if name == "user.token" and ctx.uid != 0:
        result[:] = "hidden"


@filters.symlink.pre
def relative(ctx: Context, name: Name, path: Buffer):
    if path.startswith("/srv/"):
        path[:] = path[5:]
