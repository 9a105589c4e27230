# SPDX-License-Identifier: MIT
"""`fusebpf lsp`."""

from __future__ import annotations

import click


@click.command()
def lsp() -> int:
    """Serve an editor on stdin and stdout, by the Language Server Protocol.

    It shows the findings of filter files as they are typed, offers the edits that mend them,
    completes hooks and members, and tells about the operation under the cursor. The files are run
    to be read, as `fusebpf check` does. Ends with 1 when the editor left without a shutdown.
    """
    try:
        from fusebpf.lsp.server import serve
    except ModuleNotFoundError as error:
        from fusebpf.errors import FusebpfError

        if error.name not in ("pygls", "lsprotocol"):
            raise
        raise FusebpfError(
            "the language server needs pygls, which is not installed",
            "pip install 'fusebpf[lsp]'",
        ) from None
    return serve()
