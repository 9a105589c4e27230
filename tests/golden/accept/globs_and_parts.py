"""Names by pattern and by their parts; a link's target and an attribute's value by content."""
from fusebpf import Buffer, Context, FilterSet, GetxattrIn, GetxattrOut, Name, SetxattrIn
from fusebpf.constants import EACCES, EINVAL, ENOENT, EPERM

filters = FilterSet("patterns")

EDITORS = ("*.sw[a-p]", "*~", "#*#", ".#*")


def extension(name: Name) -> int:
    for i in range(len(name)):
        if name[len(name) - 1 - i] == 0x2E:
            return len(name) - i
    return 0


@filters.lookup.pre
def looked(ctx: Context, name: Name):
    if name.glob(EDITORS) or name.lower().glob("core.*") or ".bak." in name:
        return -ENOENT
    at = extension(name)
    tail = name[at:]
    if at and (tail in {"exe", "dll"} or tail.startswith("msi") or tail[-1] == 0x7E):
        return -EACCES
    if name[1:-1] == name[2:]:
        return -EINVAL


@filters.symlink.pre
def inside_only(ctx: Context, name: Name, path: Buffer):
    if path.startswith("/") or path == ".." or path.startswith("../") or "/../" in path:
        return -EPERM
    if len(path) > 1024 or path[-len(name):] == name:
        return -EINVAL


@filters.setxattr.pre
def no_scripts(ctx: Context, req: SetxattrIn, name: Name, value: Buffer):
    if name.startswith("user.") and value[:2] == b"#!":
        return -EACCES


@filters.getxattr.post
def no_secrets(
    ctx: Context, req: GetxattrIn, name: Name, result: Buffer, out: GetxattrOut
):
    zeros = 0
    for byte in result[:64]:
        if byte == 0:
            zeros += 1
    if zeros > 32 or "password" in result:
        return -EACCES
