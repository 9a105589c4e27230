# SPDX-License-Identifier: MIT
"""The filters that hold a mount to its rules.

They know no rule: a lookup steps the automaton (fusebpf.guard.automaton) by a name and keeps the
number of what comes out (fusebpf.guard.tags) as the entry's tag, every other operation looks up
what the tag stands for. What an operation on a name asks is the outcome of that name.
docs/guard.md has the table of what they answer.

    bits 0-15   number of the outcome
    bits 16-17  what the entry is, where that matters: 1 a directory, 2 anything else
    bits 18-63  number of the inode below, with audit: what an event can tell where it was by
"""

from __future__ import annotations

from dataclasses import dataclass

from fusebpf.constants import (
    EACCES,
    ENODATA,
    ENOENT,
    EROFS,
    ESTALE,
    EXDEV,
    O_ACCMODE,
    O_RDONLY,
    O_TRUNC,
)
from fusebpf.dsl import (
    AccessIn,
    AttrOut,
    Buffer,
    Context,
    CreateIn,
    Dirents,
    EntryOut,
    FilterSet,
    GetattrIn,
    GetxattrIn,
    GetxattrOut,
    LinkIn,
    MkdirIn,
    MknodIn,
    Name,
    OpenIn,
    OpenOut,
    ReadIn,
    ReadOut,
    Rename2In,
    SetattrIn,
    SetxattrIn,
    Verdict,
)
from fusebpf.dsl.values import CONTINUE, POSTFILTER
from fusebpf.types import bytes256, u32, u64

# Numbers of the states in an outcome: 0 is that of a tag which stands for nothing, or does not any
# more.
STALE, ALLOW, READ_ONLY, DENY, HIDDEN, EMPTY = range(6)
#: A tag that stands for nothing, and where names below one begin that leads nowhere.
_NONE, _NOWHERE = 0xFFFF, 0xFFFF

_OPEN_EMPTY = 1 << 31
_S_IFMT, _S_IFDIR = 0o170000, 0o040000
_DT_UNKNOWN, _DT_DIR = 0, 4


#: As long as the rules are in force: 146 years in ns.
_FOREVER = 1 << 62
#: The same for each of the 8 kinds of caller.
_ALL_CALLERS = 0o11111111

#: Events of what was refused; where the number of an inode stands in a tag, and its bits.
EVENTS, _INODE_SHIFT, INODE_BITS = "refused", 18, 46


@dataclass
class Refused:
    """Something refused. ``when`` is monotonic time in ns, ``state`` a number from above.

    With a ``name`` it is one in the directory ``inode``, otherwise it is that inode itself; of its
    number the lower 46 bits, 0 for the root of the tree and what was not looked up yet.
    """

    when: u64
    inode: u64
    pid: u32
    uid: u32
    gid: u32
    opcode: u32
    state: u32
    name: bytes256


def filters(
    states: int,
    callers: bool,
    tags: int = 1 << 16,
    audit: bool = False,
    deny: bool = True,
    empty: bool = True,
) -> FilterSet:
    """The filters for an automaton of so many states; ``callers``: whether rules tell them apart.
    ``tags``, a power of 2, is how many numbers there are for outcomes. ``deny`` and ``empty``:
    whether any of these is of that state; without, there are no filters that it alone needs.

    Maps ``guard_states``, ``guard_ends`` and ``guard_outcomes`` (the members of a ``tags.Table``),
    and with ``callers`` ``guard_uids`` and ``guard_gids`` (its ``Callers``). With ``audit`` an
    event ``Refused`` is sent for all that is refused, but for reading attributes.
    """
    fset = FilterSet("guard")
    rules = fset.automaton("guard_states", states=states)
    ends = fset.array("guard_ends", value=u32, max_entries=states)
    outcomes = fset.array("guard_outcomes", value=u64, max_entries=tags)
    if callers:
        uids = fset.hash("guard_uids", key=u32, value=u32, max_entries=8)
        gids = fset.hash("guard_gids", key=u32, value=u32, max_entries=8)

        def caller(ctx: Context) -> u64:
            return 3 * (u64(uids.get(ctx.uid, 0)) + u64(gids.get(ctx.gid, 0)) & 7)

    else:

        def caller(ctx: Context) -> u64:
            return u64(0)

    if audit:
        refused = fset.events(EVENTS, Refused, size=1 << 18)

        def named(ctx: Context, tag: u64, name: Name, state: u64) -> u64:
            if state != ALLOW:
                inode = tag >> _INODE_SHIFT
                refused.emit(
                    Refused(ctx.ktime, inode, ctx.pid, ctx.uid, ctx.gid, ctx.opcode, state, name)
                )
            return state

        def itself(ctx: Context, state: u64) -> u64:
            if state != ALLOW:
                inode = ctx.tag >> _INODE_SHIFT
                refused.emit(
                    Refused(ctx.ktime, inode, ctx.pid, ctx.uid, ctx.gid, ctx.opcode, state, b"")
                )
            return state

        def marked(tag: u64, inode: u64) -> u64:
            return tag | inode << _INODE_SHIFT

    else:

        def named(ctx: Context, tag: u64, name: Name, state: u64) -> u64:
            return state

        def itself(ctx: Context, state: u64) -> u64:
            return state

        def marked(tag: u64, inode: u64) -> u64:
            return tag

    def entered(tag: u64, name: Name) -> u64:
        above = outcomes[tag & (tags - 1)]
        if above >> 16 & 7 != STALE:
            state = rules.walk(name, above & 0xFFFF)
            if 0 <= state < states:
                return u64(ends[state]) & 0xFFFF
        return _NONE

    def said(ctx: Context, tag: u64) -> u64:
        # To this caller: as a directory in bits 16-18, as anything else in bits 40-42.
        return u64(outcomes[tag & (tags - 1)]) >> (caller(ctx) & 31)

    def as_directory(ctx: Context, tag: u64) -> u64:
        return said(ctx, tag) >> 16 & 7

    def as_other(ctx: Context, tag: u64) -> u64:
        return said(ctx, tag) >> 40 & 7

    def all_alike(outcome: u64) -> bool:
        return outcome & 0xFFFFFF == (outcome & 7) * _ALL_CALLERS

    def state_of(ctx: Context) -> u64:
        both = said(ctx, ctx.tag)
        directory = both >> 16 & 7
        other = both >> 40 & 7
        kind = ctx.tag >> 16 & 3
        if kind == 1:
            return directory
        # Not looked up since it was made through the mount, which was allowed.
        return other if kind == 2 or other == directory else ALLOW

    def change(state: u64) -> Verdict:
        if state == ALLOW:
            return CONTINUE
        if state == READ_ONLY:
            return -EROFS
        if state == STALE:
            return -ESTALE
        return -ENOENT if state == HIDDEN else -EACCES

    def use(ctx: Context, state: u64) -> Verdict:
        if state in (DENY, HIDDEN, STALE):
            itself(ctx, state)
        if state == DENY:
            return -EACCES
        if state == HIDDEN:
            return -ENOENT
        if state == STALE:
            return -ESTALE
        return POSTFILTER if state == EMPTY else CONTINUE

    @fset.lookup.pre
    def look_up(ctx: Context, name: Name) -> Verdict:
        directory = as_directory(ctx, ctx.tag)
        if directory in (DENY, STALE):
            named(ctx, ctx.tag, name, directory)
        if directory == DENY:
            return -EACCES
        if directory == STALE:
            return -ESTALE
        return -ENOENT if directory in (HIDDEN, EMPTY) else POSTFILTER

    @fset.lookup.post
    def found(ctx: Context, name: Name, out: EntryOut, entries: Buffer) -> Verdict:
        tag = entered(ctx.tag, name)
        if tag == _NONE:
            return -ESTALE
        alike = not callers or all_alike(outcomes[ctx.tag & (tags - 1)] >> 16)
        if ctx.error_in == 0:
            directory = out.attr.mode & _S_IFMT == _S_IFDIR
            outcome = u64(outcomes[tag & (tags - 1)])
            if outcome >> 40 != outcome >> 16 & 0xFFFFFF:
                tag |= 1 << 16 if directory else 2 << 16
            outcome >>= 16 if directory else 40
            if outcome >> (caller(ctx) & 31) & 7 == HIDDEN:
                named(ctx, ctx.tag, name, HIDDEN)
                return -ENOENT
            alike = alike and (not callers or all_alike(outcome))
            tag = marked(tag, out.attr.ino)
        ctx.tag = tag
        # The kernel sees by itself what is there below, and of what kind.
        if alike:
            ctx.keep_answer(_FOREVER)
        return CONTINUE

    @fset.readdir.pre
    def list_all(ctx: Context, req: ReadIn) -> Verdict:
        state = as_directory(ctx, ctx.tag)
        if outcomes[ctx.tag & (tags - 1)] & 0xFFFF == _NOWHERE or state == STALE:
            return -ESTALE
        if state == DENY:  # since it was opened
            return -EACCES
        return -ENOENT if state == HIDDEN else POSTFILTER

    @fset.readdir.post
    def listing(ctx: Context, req: ReadIn, out: ReadOut, entries: Dirents) -> None:
        for entry in entries:
            if entry.name != "." and entry.name != "..":
                tag = entered(ctx.tag, entry.name)
                both = said(ctx, tag)
                there = both >> 40 & 7 not in (HIDDEN, STALE)
                if entry.type == _DT_DIR:
                    there = both >> 16 & 7 not in (HIDDEN, STALE)
                elif entry.type == _DT_UNKNOWN:
                    there = there or both >> 16 & 7 not in (HIDDEN, STALE)
                if not there:
                    entry.drop()

    @fset.open.pre
    def open_file(ctx: Context, req: OpenIn) -> Verdict:
        state = state_of(ctx)
        if req.flags & O_ACCMODE != O_RDONLY or req.flags & O_TRUNC:
            return change(itself(ctx, state))
        return use(ctx, state)

    @fset.open.post
    def opened(ctx: Context, req: OpenIn, out: OpenOut) -> None:
        out.open_flags |= _OPEN_EMPTY

    @fset.opendir.pre
    def open_directory(ctx: Context, req: OpenIn) -> Verdict:
        return use(ctx, as_directory(ctx, ctx.tag))

    @fset.opendir.post
    def directory_opened(ctx: Context, req: OpenIn, out: OpenOut) -> None:
        out.open_flags |= _OPEN_EMPTY

    if empty:

        @fset.getattr.pre
        def ask_attributes(ctx: Context, req: GetattrIn) -> Verdict:
            return POSTFILTER if state_of(ctx) == EMPTY else CONTINUE

        @fset.getattr.post
        def attributes(ctx: Context, req: GetattrIn, out: AttrOut) -> None:
            out.attr.size = 0
            out.attr.blocks = 0

    if deny:

        @fset.access.pre
        def permission(ctx: Context, req: AccessIn) -> Verdict:
            state = state_of(ctx)
            return -EACCES if state == DENY and itself(ctx, state) else CONTINUE

    @fset.get_link.pre
    def follow(ctx: Context, name: Name) -> Verdict:
        state = state_of(ctx)
        return change(itself(ctx, state)) if state != READ_ONLY else CONTINUE

    if deny or empty:

        @fset.getxattr.pre
        def xattr(ctx: Context, req: GetxattrIn, name: Name) -> Verdict:
            return -ENODATA if state_of(ctx) in (DENY, EMPTY) else CONTINUE

        @fset.listxattr.pre
        def list_xattrs(ctx: Context, req: GetxattrIn) -> Verdict:
            return POSTFILTER if state_of(ctx) in (DENY, EMPTY) else CONTINUE

        @fset.listxattr.post
        def xattrs(ctx: Context, req: GetxattrIn, result: Buffer, out: GetxattrOut) -> None:
            result[:] = b""
            out.size = 0  # for who asks for the length alone

    @fset.setattr.pre
    def set_attributes(ctx: Context, req: SetattrIn) -> Verdict:
        return change(itself(ctx, state_of(ctx)))

    @fset.setxattr.pre
    def set_xattr(ctx: Context, req: SetxattrIn, name: Name, value: Buffer) -> Verdict:
        return change(itself(ctx, state_of(ctx)))

    @fset.removexattr.pre
    def remove_xattr(ctx: Context, name: Name) -> Verdict:
        return change(itself(ctx, state_of(ctx)))

    @fset.create.pre
    def create(ctx: Context, req: CreateIn, name: Name) -> Verdict:
        if len(name) == 0:  # O_TMPFILE: what its directory is
            return change(itself(ctx, as_directory(ctx, ctx.tag)))
        return change(named(ctx, ctx.tag, name, as_other(ctx, entered(ctx.tag, name))))

    @fset.mknod.pre
    def make_node(ctx: Context, req: MknodIn, name: Name) -> Verdict:
        return change(named(ctx, ctx.tag, name, as_other(ctx, entered(ctx.tag, name))))

    @fset.symlink.pre
    def make_link(ctx: Context, name: Name, path: Buffer) -> Verdict:
        return change(named(ctx, ctx.tag, name, as_other(ctx, entered(ctx.tag, name))))

    @fset.mkdir.pre
    def make_directory(ctx: Context, req: MkdirIn, name: Name) -> Verdict:
        return change(named(ctx, ctx.tag, name, as_directory(ctx, entered(ctx.tag, name))))

    @fset.unlink.pre
    def remove(ctx: Context, name: Name) -> Verdict:
        return change(named(ctx, ctx.tag, name, as_other(ctx, entered(ctx.tag, name))))

    @fset.rmdir.pre
    def remove_directory(ctx: Context, name: Name) -> Verdict:
        return change(named(ctx, ctx.tag, name, as_directory(ctx, entered(ctx.tag, name))))

    @fset.link.pre
    def link(ctx: Context, req: LinkIn, name: Name) -> Verdict:
        state = state_of(ctx)
        if state != ALLOW:
            return change(itself(ctx, state))
        return change(named(ctx, ctx.tag2, name, as_other(ctx, entered(ctx.tag2, name))))

    @fset.rename.pre
    def rename(ctx: Context, req: Rename2In, old: Name, new: Name) -> Verdict:
        before = said(ctx, entered(ctx.tag, old))
        after = said(ctx, entered(ctx.tag2, new))
        state = before >> 40 & 7
        # Nobody says here whether it is a directory. Copied, it is decided exactly.
        if state != before >> 16 & 7:
            return -EXDEV
        if state != ALLOW:
            return change(named(ctx, ctx.tag, old, state))
        state = after >> 40 & 7
        if state != after >> 16 & 7:
            return -EXDEV
        return change(named(ctx, ctx.tag2, new, state))

    return fset
