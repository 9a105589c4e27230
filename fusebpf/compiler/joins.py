# SPDX-License-Identifier: MIT
"""The type of a local without annotation: the join of everything that is assigned to it."""

from __future__ import annotations

from dataclasses import dataclass

from fusebpf.compiler.flow import Flow, bounds
from fusebpf.compiler.operands import Fetch, Flexible, Lit, Operand, Poison, Value
from fusebpf.compiler.types import BOOL, ERRNO, S64, U8, U64, VERDICT, BoolType, IntType, Type


@dataclass
class Joined:
    """What a local (or a function's result) was seen to hold."""

    type: Type | None = None
    declared: bool = False
    #: Smallest and largest literal.
    lit: tuple[int, int] | None = None
    #: Arithmetic on literals only so far: any 64-bit type will do.
    flexible: bool = False
    conflict: bool = False
    #: Locals: holds the result of ``m.get(k)``. Results: some return has no value.
    optional: bool = False
    #: Locals: holds a record of a map; and, which does not go together, something else.
    record: bool = False
    other: bool = False
    assignments: int = 0

    def add(self, operand: Operand, flow: Flow) -> None:
        """Join one more operand."""
        self.assignments += 1
        record = False
        match operand:
            case Lit(value=value):
                lo, hi = self.lit or (value, value)
                self.lit = (min(lo, value), max(hi, value))
            case Flexible():
                self.flexible = True
            case Fetch(map=decl):
                self.optional = True
                record = not isinstance(decl.value, IntType)
                # Of a record the members have locals of their own: only the presence is kept.
                self._add_type(decl.value if isinstance(decl.value, IntType) else U8, 0)
            case Value(expr=expr) if isinstance(expr.type, IntType | BoolType):
                self._add_type(expr.type, bounds(expr, flow)[0])
            case Value(expr=expr) if expr.type in (VERDICT, ERRNO):
                self._add_type(expr.type, 0)
        self.record |= record
        self.other |= not record and not isinstance(operand, Poison)
        if self.record and self.other:
            self.conflict = True
        if self.type in (VERDICT, ERRNO) and (self.lit or self.flexible):
            self.conflict = True

    def _add_type(self, type_: Type, low: int) -> None:
        if self.declared:
            return
        if self.type is None or self.type == type_:
            self.type = type_
            return
        a = U8 if self.type == BOOL else self.type
        b = U8 if type_ == BOOL else type_
        if not isinstance(a, IntType) or not isinstance(b, IntType):
            self.conflict = True
        elif a.contains(b):
            self.type = a
        elif b.contains(a):
            self.type = b
        elif U64 not in (a, b):
            self.type = S64
        elif a == U64 and low >= 0:
            self.type = U64
        else:
            self.conflict = True

    def final(self) -> Type | None:
        """The type once inference is over; None when nothing sensible was assigned."""
        if self.type is None:
            if self.lit is not None and self.lit[1] > S64.hi:
                return U64
            return S64 if self.flexible or self.lit else None
        if self.declared or not (self.flexible or self.lit):
            return self.type
        if self.type == BOOL:
            return S64
        if isinstance(self.type, IntType) and self.type.bits < 64:
            fits = not self.flexible and self.lit is not None
            if fits and self.lit and all(self.type.holds(v) for v in self.lit):
                return self.type
            return S64
        return self.type

    @property
    def constant(self) -> int | None:
        """The one literal that the local ever holds."""
        if self.assignments == 1 and self.type is None and not self.flexible and self.lit:
            return self.lit[0]
        return None
