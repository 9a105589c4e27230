# SPDX-License-Identifier: MIT
"""Predicates: one question that every hook in which it matters asks."""

from __future__ import annotations

from types import FunctionType
from typing import Literal

from fusebpf.frozen import dataclass

Kind = Literal["visible", "creatable", "deletable", "writable"]


@dataclass(frozen=True)
class Predicate:
    """A registered predicate; ``line`` is the first of its function."""

    kind: Kind
    function: FunctionType
    line: int
