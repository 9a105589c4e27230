# SPDX-License-Identifier: MIT
"""C names and literals for Python ones: the same wherever C allows it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from fusebpf.reserved import KEYWORDS, OURS

# Functions that clang and LLVM know by name (clang/Basic/Builtins, TargetLibraryInfo).
_LIBRARY = """
    _exit abort abs accept acos acosh aligned_alloc asin asinh atan atan2 atanh atexit atof
    atoi atol atoll bcmp bcopy bzero cabs calloc carg cbrt ceil conj copysign cos cosh creal
    erf erfc exit exp exp10 exp2 expm1 fabs fdim ffs ffsl ffsll floor fma fmax fmin fmod fork
    fprintf free frexp gamma getc hypot ilogb index isalnum isalpha isascii isblank iscntrl
    isdigit isgraph islower isprint ispunct isspace isupper isxdigit j0 j1 jn labs ldexp
    lgamma llabs llrint llround log log10 log1p log2 logb longjmp lrint lround malloc memccpy
    memchr memcmp memcpy memmove mempcpy memrchr memset modf nan nearbyint nextafter
    nexttoward posix_memalign pow printf putchar puts qsort realloc remainder remquo rindex
    rint round roundeven scalbln scalbn scanf setjmp sigsetjmp sin sincos sinh snprintf
    sprintf sqrt sscanf stpcpy stpncpy strcasecmp strcat strchr strcmp strcoll strcpy strcspn
    strdup strerror strlcat strlcpy strlen strncasecmp strncat strncmp strncpy strndup strnlen
    strpbrk strrchr strsep strspn strstr strtod strtof strtok strtok_r strtol strtold strtoll
    strtoul strtoull strxfrm tan tanh tgamma toascii tolower toupper trunc vfork vfprintf
    vprintf vscanf vsnprintf vsprintf wcschr wcscmp wcslen wcsncmp wmemchr wmemcmp wmemcpy
    wmemmove y0 y1 yn
"""

# Functions that LLVM knows when they are visible outside their file.
_SYSTEM = """
    access chmod chown clearerr closedir ctermid execl execle execlp execv execvp execve
    fchmod fclose fdopen feof ferror fflush fgetc fgets fileno fopen fputc fputs fread fscanf
    fseek fstat ftell fwrite getchar getenv getgid getitimer getpid getpwnam gets getuid htonl
    htons lchown lstat memalign mkdir mktime ntohl ntohs open opendir pclose perror popen
    pread putc pwrite read readlink realpath remove rename rewind rmdir setbuf setitimer
    setvbuf stat statvfs system times tmpfile uname ungetc unlink unsetenv utime utimes valloc
    write
"""

_KNOWN = frozenset(_LIBRARY.split())
_VISIBLE = frozenset(_SYSTEM.split())


def identifier(
    name: str, taken: Iterable[str] = (), visible: bool = False, ends: Iterable[str] = ("",)
) -> str:
    """A C identifier for a Python one or a hidden local, different from every name in ``taken``.

    ``visible``: for a function that is not static. ``ends``: what names are made of it with.
    """
    name = "".join(c if c.isascii() else f"u{ord(c):x}" for c in name.replace(".", "_"))
    reserved = name.startswith(("__", "fusebpf_", "bpf_", "FUSEBPF_", "fuse_", "FUSE_", "BPF_"))
    # The math functions exist for float and long double, too: sinf, sinl.
    known = (
        (visible and name in _VISIBLE)
        or name in _KNOWN
        or (name[-1] in "fl" and name[:-1] in _KNOWN)
    )
    if reserved or known or name in KEYWORDS or re.fullmatch(OURS, name):
        name = f"py_{name.lstrip('_')}" if reserved or name.startswith("_") else f"{name}_"
    others = set(taken)
    while any(f"{name}{end}" in others for end in ends):
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


def quoted(name: str) -> str:
    """The name of a file as ``#line`` has it: without its quotes, on one line."""
    for char, kept in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r")):
        name = name.replace(char, kept)
    return name
