# SPDX-License-Identifier: MIT
"""Rules by path: which parts of a tree are read-only, refused, hidden or empty (docs/guard.md)."""
