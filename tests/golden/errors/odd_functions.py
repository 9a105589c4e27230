# SPDX-License-Identifier: MIT
from dataclasses import dataclass

from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
other = FilterSet("golden2")


def decorated(function):
    return function


@decorated
def one(x: u64) -> u64:
    return x


def two(x: "u64", y: "no type" = 3) -> u64:
    return x


def three(x: list) -> u64:
    return 3


def four(x: u64) -> Name:
    return 3


def five(x: u64) -> list:
    return 3


def six(x: u64) -> None:
    return x


def seven(x: u64) -> "unknown_type":
    return x


def eight(x: u64, y: u64) -> u64:
    return x + y


@filters.open.pre
def opened(ctx: Context, *rest):
    return CONTINUE


@filters.flush.pre
def flushed(ctx: "fusebpf.Context", req: OpenIn) -> "Optional[Verdict]":
    return CONTINUE


@filters.lookup.pre
def looked(ctx: Context, name: "str") -> "Optional[int]":
    return CONTINUE


@filters.unlink.pre
def removed(ctx: Context, name: Name) -> Verdict:
    one(1)
    two(1, 2)
    three(1)
    four(1)
    five(1)
    six(1)
    seven(1)
    eight(1, z=3)
    eight(y=1, x=3)
    eight(*name)
    looked(ctx, name)
    decorated(3)
    return CONTINUE
