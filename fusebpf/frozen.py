# SPDX-License-Identifier: MIT
"""`dataclass(frozen=True)` for classes that every run of the command line makes.

The one of the standard library compiles six functions for a class, one by one: with 140 classes
a tenth of a second at each start, and more than a second in an emulated guest. Here only
`__init__` is compiled, the others are shared, and mypy holds the members to be read-only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

T = TypeVar("T")

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(*, frozen: bool) -> Callable[[type[T]], type[T]]:
        """What a class is decorated with; `frozen` is there for mypy."""
        return _made


def _made(cls: type[T]) -> type[T]:
    made = dataclasses.dataclass(eq=False, repr=False)(cls)
    for name, function in _SHARED.items():
        if name not in cls.__dict__:
            setattr(made, name, function)
    return made


def _values(self: Any) -> tuple[object, ...]:
    return tuple([getattr(self, name) for name in self.__match_args__])


def _equal(self: object, other: object) -> bool:
    if self is other:
        return True
    return self.__class__ is other.__class__ and _values(self) == _values(other)


def _hash(self: object) -> int:
    return hash(_values(self))


def _repr(self: Any) -> str:
    members = zip(self.__match_args__, _values(self), strict=True)
    return f"{type(self).__qualname__}({', '.join(f'{name}={value!r}' for name, value in members)})"


_SHARED = {"__eq__": _equal, "__hash__": _hash, "__repr__": _repr}
