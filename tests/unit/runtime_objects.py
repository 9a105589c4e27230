# SPDX-License-Identifier: MIT
"""Objects for tests of the loader: small raw tracepoint programs, compiled once per test run."""

from __future__ import annotations

import os
import subprocess
from functools import cache

import pytest

HEADER = """
typedef unsigned int __u32; typedef unsigned long long __u64; typedef long long __s64;
#define SEC(n) __attribute__((section(n), used))
#define __uint(name, val) int (*name)[val]
#define __type(name, val) typeof(val) *name
static void *(*map_lookup)(void *, const void *) = (void *)1;
char LICENSE[] SEC("license") = "Dual MIT/GPL";
"""

WORKING = """
struct { __uint(type, 2); __uint(max_entries, 4); __uint(map_flags, 1024);
         __type(key, __u32); __type(value, __u64); } cases SEC(".maps");
struct { __uint(type, 1); __uint(max_entries, 8);
         __type(key, __u32); __type(value, __u64); } trusted SEC(".maps");
struct { __uint(type, 6); __uint(max_entries, 2);
         __type(key, __u32); __type(value, __u64); } hits SEC(".maps");
const volatile __u32 factor = 1;
const volatile __u64 other = 5;
SEC("raw_tp/double_it") int double_it(__u64 *ctx)
{
        __u32 zero = 0;
        __u64 *slot = map_lookup(&cases, &zero), *count = map_lookup(&hits, &zero);
        if (slot) *slot = *slot * factor + other;
        if (count) __sync_fetch_and_add(count, 1);
        return (int)ctx[0] + 1;
}
SEC("raw_tp/reads_trusted") int reads_trusted(__u64 *ctx)
{
        __u32 key = (__u32)ctx[0];
        __u64 *value = map_lookup(&trusted, &key);
        return value ? (int)*value : -1;
}
"""

REFUSED = """
SEC("raw_tp/good") int good(__u64 *ctx) { return 1; }
SEC("raw_tp/wild") int wild(__u64 *ctx) { return *(int *)(ctx[0]); }
"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="loading BPF needs root")


@cache
def compiled(body: str, *flags: str) -> bytes:
    """The object of HEADER and `body`."""
    command = ["clang-19", "-g", "-O2", "-mcpu=v3", "-target", "bpf", *flags, "-x", "c", "-c"]
    done = subprocess.run(
        [*command, "-", "-o", "/dev/stdout"], input=(HEADER + body).encode(), capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout
