# SPDX-License-Identifier: MIT
"""From MODULE:CLASS to a daemon: import it, check it, make it.

The module is trusted as any program its caller runs: its top level is executed, as the caller.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from fusebpf.daemon.errors import DaemonError
from fusebpf.daemon.handlers import HANDLERS, Daemon
from fusebpf.errors import FusebpfError, UsageError
from fusebpf.spelling import closest

_FORM = "give MODULE:CLASS, e.g. --daemon mypackage.daemons:Mine, or --daemon ./mine.py:Mine"
_DEFAULT = "default_filter"


@dataclass(frozen=True)
class Chosen:
    """What --daemon names: a class of a dotted module, or of the file at a path."""

    module: str
    name: str
    path: Path | None

    def __str__(self) -> str:
        return f"{self.path or self.module}:{self.name}"


def parse(text: str) -> Chosen:
    """Understand MODULE:CLASS; a MODULE with a slash or the ending .py is a path.

    Raises UsageError, also when there is no such file.
    """
    module, _, name = text.rpartition(":")
    if not module or not name.isidentifier():
        raise UsageError(f"--daemon {text!r} names no class of a module", _FORM)
    if "/" in module or module.endswith(".py"):
        path = Path(module).absolute()
        if path.is_dir():
            raise UsageError(f"{module} is a directory", f"name a file in it: {module}/X.py:{name}")
        if not path.exists():
            raise UsageError(f"{module} does not exist", _FORM)
        return Chosen(f"_fusebpf_daemon_{path.stem}", name, path)
    if not all(part.isidentifier() for part in module.split(".")):
        raise UsageError(f"--daemon {text!r}: {module!r} is no name of a module", _FORM)
    return Chosen(module, name, None)


def load(chosen: Chosen) -> type[Daemon]:
    """Import the class. Raises UsageError when there is none, DaemonError when it cannot be served.

    Modules are found where Python looks for them, then in the working directory.
    """
    module = _imported(chosen)
    found = getattr(module, chosen.name, None)
    where = chosen.path or chosen.module
    if found is None:
        served = sorted(n for n, value in vars(module).items() if _own(value, module))
        near = closest(chosen.name, served)
        if near:
            help = f"did you mean {near}?"
        else:
            help = f"it has: {', '.join(served)}" if served else "derive one: class Mine(Daemon)"
        raise UsageError(f"{where} has no class {chosen.name!r}", help)
    if not isinstance(found, type):
        raise UsageError(f"{chosen.name} of {where} is no class", "name the class, not an object")
    if not issubclass(found, Daemon):
        raise UsageError(
            f"{chosen.name} of {where} is no daemon",
            f"derive it: from fusebpf.daemon import Daemon; class {chosen.name}(Daemon)",
        )
    return found


def make(served: type[Daemon]) -> Daemon:
    """An object of the class. Raises DaemonError when its constructor fails."""
    try:
        return served()
    except FusebpfError:
        raise
    except TypeError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is None:
            # Not from within: the call itself did not fit.
            raise DaemonError(
                f"cannot make {served.__name__}: {error}",
                "it is made without arguments: give them defaults, or derive a class without",
            ) from error
        raise _failed(f"cannot make {served.__name__}", error) from error
    except Exception as error:
        raise _failed(f"cannot make {served.__name__}", error) from error


def handled(served: type[Daemon]) -> frozenset[str]:
    """The requests that a class has methods for."""
    return frozenset(name for name in HANDLERS if hasattr(served, name))


def check_use(served: str, methods: Iterable[str], hooks: Iterable[str]) -> None:
    """Refuse a daemon that has a method for nothing that filters on these hooks can send.

    Raises DaemonError.
    """
    due = sent(hooks)
    if not set(due) & set(methods):
        raise DaemonError(
            f"{served} has no method for an operation that the filters can send to it",
            f"give it one of: {', '.join(due)}",
        )


def sent(hooks: Iterable[str]) -> list[str]:
    """The methods that a daemon can be asked for by filters on these hooks."""
    if _DEFAULT in (hooks := list(hooks)):
        return sorted(HANDLERS - {"forget"})
    methods: dict[str, None] = {}
    for hook in hooks:
        op, _, phase = hook.rpartition("_")
        # USER of a prefilter leaves the operation itself to the daemon.
        names = (f"{op}_pre", op, f"{op}_post") if phase == "prefilter" else (f"{op}_post",)
        methods |= dict.fromkeys(name for name in names if name in HANDLERS)
    return list(methods)


def _imported(chosen: Chosen) -> ModuleType:
    directory = str(Path.cwd() if chosen.path is None else chosen.path.parent)
    if directory not in sys.path:
        # Last: a file there takes no place of a module that others import.
        sys.path.append(directory)
    what = f"cannot import {chosen.path or chosen.module}"
    try:
        if chosen.path is None:
            return importlib.import_module(chosen.module)
        spec = importlib.util.spec_from_file_location(chosen.module, chosen.path)
        if spec is None or spec.loader is None:
            raise UsageError(f"{chosen.path} is no file of Python", "its name ends with .py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[chosen.module] = module
        spec.loader.exec_module(module)
        return module
    except FusebpfError:
        raise
    except ModuleNotFoundError as error:
        if chosen.path is None and f"{chosen.module}.".startswith(f"{error.name}."):
            raise UsageError(
                f"there is no module {error.name}",
                "set PYTHONPATH, start in its directory, or give the path of its file: "
                f"--daemon DIRECTORY/{chosen.module.rpartition('.')[2]}.py:{chosen.name}",
            ) from None
        raise _failed(what, error) from error
    except (Exception, SystemExit) as error:
        raise _failed(what, error) from error


def _own(value: object, module: ModuleType) -> bool:
    return (
        isinstance(value, type)
        and issubclass(value, Daemon)
        and value.__module__ == (module.__name__)
    )


def _failed(what: str, error: BaseException) -> DaemonError:
    """The error of user code, with the place that it came from."""
    kind = type(error).__name__
    if isinstance(error, SyntaxError):
        return DaemonError(f"{what}: {error.filename}:{error.lineno}: {error.msg}")
    # The last frame that is not of the import system.
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen ")
    ]
    place = f"{frames[-1].filename}:{frames[-1].lineno}: " if len(frames) > 1 else ""
    text = f"{kind}: {error}" if str(error) else kind
    return DaemonError(f"{what}: {place}{text}")
