# SPDX-License-Identifier: MIT
"""What the check of the guest's kernel log finds, and what it lets pass."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.vm import sanitizers
from tests.vm.kernel_log import KernelLog, findings, text_of

SPLATS = [
    "WARNING: CPU: 0 PID: 212 at fs/inode.c:331 drop_nlink+0x2e/0x40",
    "BUG: kernel NULL pointer dereference, address: 0000000000000008",
    "Oops: Oops: 0000 [#1] PREEMPT SMP NOPTI",
    "WARNING: possible circular locking dependency detected",
    "rcu: INFO: rcu_preempt self-detected stall on CPU",
    "INFO: task cat:99 blocked for more than 120 seconds.",
    "refcount_t: underflow; use-after-free.",
    "BUG fusebpf_inode (Tainted: G O): Objects remaining on __kmem_cache_shutdown()",
    "kmem_cache_destroy fusebpf_inode: Slab cache still has objects when called from f+0x1/0x2",
    "VFS: Busy inodes after unmount of fuse_bpf (fuse_bpf)",
    "BUG: Dentry 00000000a1b2c3d4{i=5,n=x} still in use (1) [unmount of fuse_bpf fuse_bpf]",
    "kmemleak: 1 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
    "BUG: KASAN: slab-use-after-free in fuse_release+0x10/0x20",
    "list_del corruption. prev->next should be ffff888, but was ffff999",
    "sysfs: cannot create duplicate filename '/fs/fuse'",
    "BUG: sleeping function called from invalid context at mm/slab.h:1",
    "WARNING: possible recursive locking detected",
    "WARNING: suspicious RCU usage",
    "BUG kmalloc-64 (Not tainted): Right Redzone overwritten",
    "BUG: Invalid wait context",
    "WARNING: bad unlock balance detected!",
    "WARNING: lock held when returning to user space!",
    "DEBUG_LOCKS_WARN_ON(1)",
    "INFO: trying to register non-static key.",
    "BUG: MAX_LOCKDEP_CHAINS too low!",
    "UBSAN: array-index-out-of-bounds in fs/fuse/bpf_io.c:1:2",
    "kmemleak: Memory pool empty, consider increasing CONFIG_DEBUG_KMEMLEAK_MEM_POOL_SIZE",
]

PLAIN = [
    "fusebpf: loading out-of-tree module taints kernel.",
    "fusebpf: module verification failed: signature and/or required key missing - tainting kernel",
    "EXT4-fs (vda): mounted filesystem 5c0e r/o without journal. Quota mode: none.",
    "sched_clock: Marking stable (1000, 2)->(3, 4)",
    "device-mapper: core: CONFIG_IMA_DISABLE_HTABLE is disabled.",
    "Freeing unused kernel image (text/rodata gap) memory: 2036K",
    "kasan: KernelAddressSanitizer initialized (generic)",
    "kmemleak: Kernel memory leak detector initialized (mem pool available: 60000)",
    "Lock dependency validator: Copyright (c) 2006 Red Hat, Inc., Ingo Molnar",
    "... MAX_LOCKDEP_CHAINS:      262144",
    "... MAX_LOCKDEP_KEYS:        8192",
    "fuse: init (API version 7.41)",
    "Running RCU self tests",
]


@pytest.mark.parametrize("line", SPLATS)
def test_splats_are_found_with_what_follows(line: str) -> None:
    assert findings(["usual", line, "RIP: 0010:f+0x1/0x2"]) == [line, "RIP: 0010:f+0x1/0x2"]


def test_plain_lines_pass() -> None:
    assert findings(PLAIN) == []


def test_record_is_cut_to_its_text() -> None:
    assert text_of("4,339,5140900,-;a; b\n SUBSYSTEM=acpi\n DEVICE=+acpi:x") == "a; b"


def test_reading_goes_on_where_it_ended(tmp_path: Path) -> None:
    # A pipe gives records as /dev/kmsg does: one per read, EAGAIN at the end.
    fifo = tmp_path / "kmsg"
    os.mkfifo(fifo)
    log = KernelLog(str(fifo))
    writer = os.open(fifo, os.O_WRONLY)
    assert log.new_lines() == []
    os.write(writer, b"6,1,10,-;one\n")
    assert log.new_lines() == ["one"]
    assert log.new_lines() == []
    os.close(writer)
    log.close()


def test_lock_checks_that_ended_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stats = tmp_path / "lockdep_stats"
    monkeypatch.setattr(sanitizers, "LOCKDEP_STATS", stats)
    monkeypatch.setattr(sanitizers, "KMEMLEAK", tmp_path / "none")
    assert sanitizers.problems() == []  # a kernel without lockdep
    stats.write_text(" max bfs queue depth:  275\n debug_locks:                             1\n")
    assert sanitizers.problems() == []
    stats.write_text(" debug_locks:                             0\n")
    assert "lockdep is off" in sanitizers.problems()[0]
