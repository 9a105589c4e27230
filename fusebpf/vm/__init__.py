# SPDX-License-Identifier: MIT
"""Boot a stock kernel with fuse-bpf in QEMU and run a command in it."""
