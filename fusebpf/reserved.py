# SPDX-License-Identifier: MIT
"""Words that mean something in every generated C file, so that nothing of an author's has them."""

from __future__ import annotations

import re

_KEYWORDS = """
    auto break case char const continue default do double else enum extern float for goto if
    inline int long register restrict return short signed sizeof static struct switch typedef
    union unsigned void volatile while asm typeof bool true false nullptr constexpr alignas
    alignof thread_local static_assert NULL SEC main frame memory _license
"""
KEYWORDS = frozenset(_KEYWORDS.split())

#: Locals of the headers' macros and of generated blocks.
OURS = r"_[A-Z].*|_key|_found|_value|_k|_zero|_text|_size|_[a-z]\d+|_(loop|start)\d+"


def is_reserved(name: str) -> bool:
    """Whether a map, which user space knows by its very name, cannot have this one."""
    # A map is no function: it can have the names of some.
    words = KEYWORDS - {"main", "SEC"}
    return name in words or name.startswith("__") or re.fullmatch(OURS, name) is not None
