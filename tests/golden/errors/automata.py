# SPDX-License-Identifier: MIT
from fusebpf import *
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
