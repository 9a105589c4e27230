# SPDX-License-Identifier: MIT
"""Find what is wrong with a text: ``python -m fusebpf.lsp.worker PATH < TEXT`` prints JSON.

A filter file is run to be read. In a process of its own it can print, loop or exit as it likes.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def main() -> None:
    """Print the diagnostics of the file PATH with the text from stdin."""
    answer = os.dup(1)
    os.dup2(2, 1)  # what the file prints is not the answer
    path = Path(sys.argv[1])
    source = sys.stdin.buffer.read().decode("utf-8-sig")
    from fusebpf.build.errors import BuildError
    from fusebpf.build.findings import findings
    from fusebpf.compiler.wire import diagnostic

    shapes: list[object] = []
    try:
        found = findings(path, source)
    except BuildError as error:
        print(error, file=sys.stderr)
    else:
        shapes = [diagnostic(d, found.texts) for d in found.diagnostics if d.file == str(path)]
    with os.fdopen(answer, "w") as out:
        json.dump(shapes, out)


if __name__ == "__main__":
    main()
