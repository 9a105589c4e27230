# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
rules = filters.automaton("rules", states=4)


@filters.lookup.pre
def f(ctx: Context, name: Name):
    a = rules.walk(name[1:])
    b = rules.walk(name.lower())
    c = rules.walk("x")
    d = rules.walk(name, name)
    e = rules.step(name)
    g = rules.walk()


@filters.setxattr.pre
def h(ctx: Context, req: SetxattrIn, name: Name, value: Buffer):
    if rules.walk(value) == rules.walk(name):
        return CONTINUE


def bad(name: Name) -> bool:
    return rules.walk(name) & 1 != 0


def passed_on(number: u64, name: Name) -> bool:
    kept = name
    return number == 1 and bad(kept)


def listed(entry: Dirent) -> bool:
    return bad(entry.name) or passed_on(1, entry.name[2:])


@filters.rmdir.pre
def i(ctx: Context, name: Name):
    end = name[len(name) - 3 :]
    if bad(name) or bad(name[3:]) or passed_on(2, end):
        return -EPERM


@filters.readdir.post
def j(ctx: Context, req: ReadIn, out: ReadOut, entries: Dirents):
    for entry in entries:
        if listed(entry):
            entry.drop()
