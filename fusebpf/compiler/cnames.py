# SPDX-License-Identifier: MIT
"""C names and literals for Python ones: the same wherever C allows it."""

from __future__ import annotations

import re
from collections.abc import Iterable

_KEYWORDS = """
    auto break case char const continue default do double else enum extern float for goto if
    inline int long register restrict return short signed sizeof static struct switch typedef
    union unsigned void volatile while asm typeof bool true false nullptr constexpr alignas
    alignof thread_local static_assert NULL SEC main frame memory
"""

# Functions that clang knows by name and would warn about.
_LIBRARY = """
    abort abs accept access acos alloca asin atan atexit atof atoi bcmp bcopy bzero calloc ceil
    cos exit exp fabs floor fork fprintf free frexp getc index isalnum isalpha iscntrl isdigit
    islower isprint ispunct isspace isupper isxdigit ldexp log longjmp malloc memchr memcmp
    memcpy memmove memset modf pow printf putchar puts qsort realloc rindex round scanf setjmp
    sin sinh snprintf sprintf sqrt sscanf stpcpy strcasecmp strcat strchr strcmp strcpy strcspn
    strdup strerror strlen strncasecmp strncat strncmp strncpy strndup strpbrk strrchr strspn
    strstr strtod strtok strtol strtoul strxfrm tan tolower toupper vfork vprintf vsnprintf
    trunc fmin fmax fma cbrt erf hypot labs llabs ffs nan gamma j0 j1 jn y0 y1 yn
"""

_RESERVED = frozenset((_KEYWORDS + _LIBRARY).split())


def identifier(name: str, taken: Iterable[str] = ()) -> str:
    """A C identifier for a Python one, different from every name in ``taken``."""
    name = "".join(c if c.isascii() else f"u{ord(c):x}" for c in name)
    reserved = name.startswith(("__", "fusebpf_", "bpf_", "FUSEBPF_", "fuse_", "FUSE_", "BPF_"))
    if reserved or name in _RESERVED or re.fullmatch(r"_[A-Z].*|_key|_found|_value|_k|_zero", name):
        name = f"py_{name.lstrip('_')}" if reserved or name.startswith("_") else f"{name}_"
    known = set(taken)
    while name in known:
        name += "_"
    return name


def string(raw: bytes) -> str:
    """A C string literal."""
    out = []
    for byte in raw:
        char = chr(byte)
        if char in '"\\?':
            out.append(f"\\{char}")
        elif 32 <= byte < 127:
            out.append(char)
        else:
            out.append(f"\\{byte:03o}")
    return f'"{"".join(out)}"'


def comment(text: str) -> str:
    """A line of Python inside a C comment."""
    text = text.strip().replace("*/", "* /").replace("/*", "/ *")
    text = text.encode("ascii", "backslashreplace").decode()
    return text[:-1] + "\\ " if text.endswith("\\") else text
