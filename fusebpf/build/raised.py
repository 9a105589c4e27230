# SPDX-License-Identifier: MIT
"""What Python says of a filter file that it cannot run, as diagnostics with a way out."""

from __future__ import annotations

import ast
import builtins
import keyword
import re
import sys
from dataclasses import replace

from fusebpf.compiler.diagnostics import Diagnostic, Related
from fusebpf.compiler.edits import Edit, Fix, apply, source_lines
from fusebpf.compiler.mending import column, definition, imported
from fusebpf.compiler.misnamed import misnamed
from fusebpf.compiler.sources import Source
from fusebpf.dsl.errors import DslError
from fusebpf.frozen import dataclass
from fusebpf.spelling import closest


def syntax_error(file: str, source: str, error: SyntaxError) -> Diagnostic:
    """A file that does not parse."""
    line, col = error.lineno or 1, error.offset or 1
    same_line = error.end_lineno in (None, line)
    end = error.end_offset if same_line and error.end_offset else col + 1
    lines = source_lines(source)
    text = lines[line - 1] if 0 < line <= len(lines) else ""
    help: str | None
    if feature := re.match(r"future feature (\w+) is not defined", error.msg):
        col = max(text.find(feature[1]), 0) + 1
        end = col + len(feature[1])
    fix = _one_word(source, lines, line)
    if fix is not None:
        line, help = fix.edits[0].line, f"did you mean {fix.edits[0].text!r}?"
    else:
        help, fix = _syntax_help(error.msg, text, line, col)
        if "instead of '='" in error.msg and (equal := _comparison(source, text, line)):
            help, fix = "compare with ==", equal
    place = (line, col, max(end, col + 1))
    if fix is not None and fix.edits[0].line == line:
        edit = fix.edits[0]
        place = (line, edit.col, max(edit.end_col, edit.col + 1))
    message = f"not Python: {error.msg}"
    fixes = () if fix is None else (fix,)
    return Diagnostic("error", "E001", message, file, *place, help, fixes=fixes)


#: Words that begin or join statements.
_WORDS = tuple(word for word in keyword.kwlist if len(word) > 1)


def _one_word(source: str, lines: list[str], line: int) -> Fix | None:
    """The one misspelled keyword, or ; for :, without which the file would parse."""
    for number in (line, line - 1):
        text = lines[number - 1] if 0 < number <= len(lines) else ""
        for found in re.finditer(r"[A-Za-z]+|;", text):
            for word in _meant(found[0]):
                edit = Edit(number, found.start() + 1, number, found.end() + 1, word)
                fix = Fix(f"write {word}", (edit,))
                if _parses(source, fix):
                    return fix
    return None


def _comparison(source: str, text: str, line: int) -> Fix | None:
    """The one = of a line with which the file would parse as ==; else the first."""
    fixes = [
        Fix("write ==", (Edit(line, found.start() + 1, line, found.end() + 1, "=="),))
        for found in re.finditer(r"(?<![=<>!:+*/%&|^-])=(?!=)", text)
    ]
    return next((fix for fix in fixes if _parses(source, fix)), fixes[0] if fixes else None)


def _parses(source: str, fix: Fix) -> bool:
    try:
        ast.parse(apply(source, [fix])[0])
    except (SyntaxError, ValueError):
        return False
    return True


def _meant(word: str) -> list[str]:
    if word == ";":
        return [":"]
    if word == "is":  # `for x is y`
        return ["in"]
    if keyword.iskeyword(word):
        return []
    return [known for known in _WORDS if closest(word, [known])]


#: Signs of other languages, and what Python has for them.
_SIGNS = {"&&": "and", "||": "or", "!": "not ", "else if": "elif", "++": " += 1", "--": " -= 1"}
_SIGN = re.compile(r"&&|\|\||!(?!=)|\belse if\b|\+\+(?=\s*$)|--(?=\s*$)")


def _syntax_help(message: str, text: str, line: int, col: int) -> tuple[str | None, Fix | None]:
    def change(first: int, last: int, new: str) -> Fix:
        return Fix(f"write {new.strip()}", (Edit(line, first + 1, line, last + 1, new),))

    bare = re.sub(r"\"[^\"]*\"|'[^']*'", lambda m: "_" * len(m[0]), text)
    bare = bare.split("#")[0].rstrip()
    found = _SIGN.search(bare)
    if found is not None:
        word = _SIGNS[found[0]]
        first, last = found.span()
        while word.startswith(" ") and first and text[first - 1] == " ":
            first -= 1
        return f"in Python it is `{word.strip()}`", change(first, last, word)
    opened = _open_bracket(bare)
    if message == "invalid syntax" and opened and bare.endswith(":") and col == len(bare):
        return f"close the bracket with {opened}", change(col - 1, col - 1, opened)
    if "expected ':'" in message:
        return "end the line with a colon", change(len(bare), len(bare), ":")
    if "was never closed" in message and text[col - 1 : col] in "([{":
        shut = {"(": ")", "[": "]", "{": "}"}[text[col - 1]]
        at = len(bare) - bare.endswith(":")
        return f"close it with {shut}", change(at, at, shut)
    if "unterminated string" in message:
        quote = text[col - 1 : col]
        at = len(text) - text.endswith((":", ")")) - text.endswith("):")
        return "end the string with its quote", change(at, at, quote)
    if "expected an indented block" in message:
        indent = len(text) - len(text.lstrip())
        return "indent what belongs to it by four spaces", change(indent, indent, "    ")
    if "unexpected indent" in message:
        return "put it at the column of the line above", None
    if "unmatched" in message:
        return "take it out", change(col - 1, col, "")
    if "mixed with" in message or "inconsistent use of tabs" in message:
        return "indent with spaces alone", None
    return "correct the line; the mistake may also stand before the place that is shown", None


def _open_bracket(text: str) -> str:
    """What closes the innermost bracket that a line leaves open, or ""."""
    waiting: list[str] = []
    for sign in text:
        if sign in "([{":
            waiting.append({"(": ")", "[": "]", "{": "}"}[sign])
        elif waiting and sign == waiting[-1]:
            waiting.pop()
    return waiting[-1] if waiting else ""


@dataclass(frozen=True)
class Place:
    """Where an exception came out of a file: a line, and columns that count from 0."""

    file: str
    source: str
    line: int
    start: int
    end: int

    def report(
        self, code: str, message: str, help: str, word: str = "", new: str = "", needs: str = ""
    ) -> Diagnostic:
        """A diagnostic here; at ``word`` when that stands here or soon after.

        ``new`` is written in its place; ``needs`` is the module that it is imported from.
        """
        lines = source_lines(self.source)
        pattern = rf"(?<!\w){re.escape(word)}(?!\w)"
        at, first, last = self.line, self.start, self.end
        for number in range(self.line, min(self.line + 20, len(lines)) + 1) if word else ():
            match = re.search(pattern, lines[number - 1])
            if match:
                at, (first, last) = number, match.span()
                break
        fixes: tuple[Fix, ...] = ()
        if needs:
            edits = imported(Source(self.file, self.source, self.file), needs, new)
            fixes = (Fix(f"import {new} from {needs}", tuple(edits)),)
        elif new:
            fixes = (Fix(f"write {new}", (Edit(at, first + 1, at, last + 1, new),)),)
        place = (at, first + 1, max(last, first + 1) + 1)
        return Diagnostic("error", code, message, self.file, *place, help, fixes=fixes)


def raised(place: Place, error: BaseException) -> Diagnostic:
    """An exception that came out of a file's own line."""
    reason = str(error).strip().splitlines()
    what = f"{type(error).__name__}: {reason[0]}" if reason else type(error).__name__
    told = str(error).replace(".__init__()", "()")  # of a class
    match error:
        case DslError(help=help):  # in a module that the file imports
            message = f"{error.file}:{error.line}: {error.message}"
            return place.report(error.code, message, help or "mend that file")
        case ModuleNotFoundError(name=str() as name):
            near = closest(name, _MODULES)
            help = f"did you mean {near!r}?" if near else "install it, or leave the import out"
            return place.report("E003", f"there is no module {name!r}", help, name, near or "")
        case ImportError() if absent := _ABSENT.match(str(error)):
            return _not_in_module(place, absent[2], absent[1])
        case NameError(name=str() as name):
            return _undefined(place, error, name)
        case TypeError() if unexpected := _UNEXPECTED.match(told):
            function, name = unexpected.groups()
            options = _OPTIONS.get(function, ())
            near = closest(name, options)
            help = f"did you mean {near!r}?" if near else f"it takes: {', '.join(options)}"
            message = f"{function}() has no option {name!r}"
            return place.report("E005", message, help, name, near or "")
        case TypeError() if missing := _MISSING.match(told):
            function, names = missing.groups()
            if names == "'function'":
                help = f"leave the () out: .{function} stands above the `def` as it is"
                return place.report("E005", f"the decorator {function} is called", help)
            first = names.split()[0].strip("',")
            return place.report("E005", f"{function}() lacks {names}", f"say {first}=...")
        case TypeError() if (many := _TOO_MANY.match(told)) and many[1] in _OPTIONS:
            help = f"write {', '.join(f'{option}=...' for option in _OPTIONS[many[1]])}"
            return place.report("E005", f"{many[1]}() takes options by name alone", help)
        case AttributeError(obj=type() as made) if made.__name__ == "FilterSet":
            help = f'make one: {made.__name__}("name")'
            return place.report("E002", f"{made.__name__} is a class, not a filter set", help)
    return place.report("E002", f"the file raised {what}", "it is the file's own code that fails")


_ABSENT = re.compile(r"cannot import name '(\w+)' from '([\w.]+)'")
_UNEXPECTED = re.compile(r"(?:\w+\.)?(\w+)\(\) got an unexpected keyword argument '(\w+)'")
_TOO_MANY = re.compile(r"(?:\w+\.)?(\w+)\(\) takes .*positional arguments? but \d+ were given")
_MISSING = re.compile(r"(?:\w+\.)?(\w+)\(\) missing .*arguments?: (.*)$")

#: What a filter file imports from this package.
_MODULES = (
    "fusebpf",
    "fusebpf.constants",
    "fusebpf.types",
    "fusebpf.filters",
    "dataclasses",
    "enum",
)

_MAP = ("key", "value", "max_entries")
#: The options of declarations that take some.
_OPTIONS = {
    **dict.fromkeys(("hash", "lru_hash", "percpu_hash", "lru_percpu_hash", "lpm_trie"), _MAP),
    **dict.fromkeys(("array", "percpu_array"), ("value", "max_entries")),
    "automaton": ("states",),
    "events": ("size",),
    "config": ("least", "most"),
}


def _names() -> dict[str, str]:
    """Everything that a filter file can import from this package, and from where."""
    import fusebpf.constants as constants
    import fusebpf.dsl as dsl
    import fusebpf.types as types

    found = {name: "fusebpf.constants" for name in vars(constants) if name.isupper()}
    found |= dict.fromkeys(types.__all__, "fusebpf.types")
    return found | dict.fromkeys(dsl.__all__, "fusebpf")


def _not_in_module(place: Place, module: str, name: str) -> Diagnostic:
    """``from module import name`` of what it does not have."""
    known = _names()
    if known.get(name, module) != module:
        help = f"{name} is in {known[name]}"
    else:
        help = "docs/language.md has what there is"
    own = [k for k, home in known.items() if home == module]
    if not own:
        own = [k for k in vars(sys.modules.get(module, sys)) if not k.startswith("_")]
    near = closest(name, own)
    if near:
        help = f"did you mean {near!r}?"
    return place.report("E003", f"{module} has no {name!r}", help, name, near or "")


def _undefined(place: Place, error: NameError, name: str) -> Diagnostic:
    """A name at the top level that nothing defines."""
    namespace: dict[str, object] = {}
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == place.file:
            namespace = {**trace.tb_frame.f_globals, **trace.tb_frame.f_locals}
        trace = trace.tb_next
    known = _names()
    message = f"{name!r} is not defined"
    if name in known:
        help = f"import it: from {known[name]} import {name}"
        return place.report("E004", message, help, name, name, known[name])
    own = [k for k in namespace if not k.startswith("__")]
    near = closest(name, own) or closest(name, vars(builtins))
    if near and (slip := _misnamed(place, message, name, near)):
        return slip
    help = f"did you mean {near!r}?" if near else "assign it first, or import it"
    found = place.report("E004", message, help, name, near or "")
    return replace(found, related=_made_at(place, near)) if near else found


def _misnamed(place: Place, message: str, used: str, made: str) -> Diagnostic | None:
    """The same where the slip is in the definition."""
    source = Source(place.file, place.source, place.file)
    slip = misnamed(source.tree, used, made)
    if slip is None:
        return None
    line, first, end = _span(source, slip.made, made)
    message = f"{message}: it is made as {made!r}, which nothing uses"
    at = replace(place, line=line, start=first - 1, end=end - 1)
    use = Related(f"{used!r} is used here", place.file, *_span(source, slip.used, used))
    return replace(at.report("E004", message, f"write {used!r} here", new=used), related=(use,))


def _made_at(place: Place, name: str) -> tuple[Related, ...]:
    """Where the file makes a name."""
    source = Source(place.file, place.source, place.file)
    node = definition(source.tree, name)
    if node is None:
        return ()
    return (Related(f"{name!r} is made here", place.file, *_span(source, node, name)),)


def _span(source: Source, node: ast.AST, name: str) -> tuple[int, int, int]:
    """Line, column and end of a name."""
    line, first = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
    col = column(source.lines[line - 1], first) + 1
    return line, col, col + len(name)
