# SPDX-License-Identifier: MIT
"""File-system filters written in Python, compiled to BPF, enforced by the kernel."""

__version__ = "0.1.0"
