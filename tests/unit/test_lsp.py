# SPDX-License-Identifier: MIT
"""The language server, as an editor meets it: a client that speaks the protocol over stdio."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from lsprotocol import types
from pygls.lsp.client import LanguageClient

from fusebpf.compiler.edits import source_lines
from fusebpf.lsp.knowledge import completions, hover

TEXT = """\
from fusebpf import *
from fusebpf.constants import *

print("this is not the answer")
filters = FilterSet("guard")

@filters.open.pre
def ro(ctx: Context, req: OpenIn):
    if req.flags & O_TRUNC and ctx.uidd != 0:
        return EROFS
"""


class Editor:
    """A client with one open file."""

    def __init__(self, client: LanguageClient, uri: str) -> None:
        self.client = client
        self.uri = uri
        self.synced: types.TextDocumentSyncKind | None = None
        self.published: asyncio.Queue[types.PublishDiagnosticsParams] = asyncio.Queue()

    @property
    def document(self) -> types.TextDocumentIdentifier:
        return types.TextDocumentIdentifier(self.uri)

    async def found(self, version: int) -> list[types.Diagnostic]:
        """What the server says of a version of the text."""
        while True:
            said = await asyncio.wait_for(self.published.get(), 60)
            if said.version == version:
                return list(said.diagnostics)


@asynccontextmanager
async def editor(uri: str, text: str) -> AsyncIterator[Editor]:
    client = LanguageClient("test", "1")
    made = Editor(client, uri)

    @client.feature(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)  # type: ignore[untyped-decorator]
    def published(params: types.PublishDiagnosticsParams) -> None:
        made.published.put_nowait(params)

    await client.start_io(sys.executable, "-m", "fusebpf.cli", "lsp")
    answer = await client.initialize_async(
        types.InitializeParams(capabilities=types.ClientCapabilities(), root_uri=None)
    )
    sync = answer.capabilities.text_document_sync
    assert isinstance(sync, types.TextDocumentSyncOptions)
    made.synced = sync.change
    client.initialized(types.InitializedParams())
    opened = types.TextDocumentItem(made.uri, "python", 1, text)
    client.text_document_did_open(types.DidOpenTextDocumentParams(opened))
    try:
        yield made
    finally:
        await client.shutdown_async(None)
        client.exit(None)
        await client.stop()  # type: ignore[no-untyped-call]


def drive(
    path: Path, steps: Callable[[Editor], Awaitable[None]], text: str = TEXT, uri: str = ""
) -> None:
    async def session() -> None:
        async with editor(uri or path.as_uri(), text) as made:
            await steps(made)

    asyncio.run(session())


def test_findings_edits_and_what_is_left_after_them(tmp_path: Path) -> None:
    async def steps(made: Editor) -> None:
        found = await made.found(1)
        assert [(d.code, d.range.start.line) for d in found] == [("E206", 8), ("E275", 9)]
        whole = types.Range(types.Position(8, 0), types.Position(9, 0))
        actions = await made.client.text_document_code_action_async(
            types.CodeActionParams(made.document, whole, types.CodeActionContext(found))
        )
        assert actions is not None
        text = TEXT.splitlines(keepends=True)
        for action in actions:
            assert isinstance(action, types.CodeAction)
            assert action.edit is not None
            assert action.edit.changes is not None
            (edit,) = action.edit.changes[made.uri]
            start, end = edit.range.start, edit.range.end
            line = text[start.line]
            text[start.line] = line[: start.character] + edit.new_text + line[end.character :]
        mended = "".join(text)
        assert "ctx.uid != 0" in mended
        assert "return -EROFS" in mended
        made.client.text_document_did_change(
            types.DidChangeTextDocumentParams(
                types.VersionedTextDocumentIdentifier(2, made.uri),
                [types.TextDocumentContentChangeWholeDocument(mended)],
            )
        )
        assert await made.found(2) == []

    drive(tmp_path / "guard.py", steps)


def test_completion_and_hover(tmp_path: Path) -> None:
    async def steps(made: Editor) -> None:
        at = types.Position(8, TEXT.splitlines()[8].index("flags"))
        given = await made.client.text_document_completion_async(
            types.CompletionParams(made.document, at)
        )
        items = given.items if isinstance(given, types.CompletionList) else given or []
        assert [item.label for item in items] == ["flags", "open_flags"]
        at = types.Position(6, TEXT.splitlines()[6].index("open") + 1)
        told = await made.client.text_document_hover_async(types.HoverParams(made.document, at))
        assert told is not None
        assert isinstance(told.contents, types.MarkupContent)
        assert "Open a file." in told.contents.value
        assert "OPEN 14" in told.contents.value

    drive(tmp_path / "guard.py", steps)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\ufeff" + TEXT, 8),
        (TEXT.replace("\nprint", "\x0c\n# \u2028 \x85\nprint"), 9),
        (TEXT + "# \ud800\n", 8),
    ],
    ids=["byte order mark", "characters that end no line", "a lone surrogate"],
)
@pytest.mark.parametrize("odd", ["", "%00"])
def test_odd_texts_and_names(tmp_path: Path, text: str, line: int, odd: str) -> None:
    async def steps(made: Editor) -> None:
        found = await made.found(1)
        assert [(d.code, d.range.start.line) for d in found] == [("E206", line), ("E275", line + 1)]
        # A change of one line would be made where str.splitlines() has that line.
        assert made.synced == types.TextDocumentSyncKind.Full
        column = source_lines(text)[line].index("flags")
        at = types.Position(line, column)
        given = await made.client.text_document_completion_async(
            types.CompletionParams(made.document, at)
        )
        items = given.items if isinstance(given, types.CompletionList) else given or []
        assert [item.label for item in items] == ["flags", "open_flags"]
        told = await made.client.text_document_hover_async(types.HoverParams(made.document, at))
        assert told is not None

    path = tmp_path / "guard.py"
    drive(path, steps, text, path.as_uri() + odd)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("@filters.", {"lookup", "create", "rename", "hash", "visible"}),
        ("@filters.lookup.", {"pre", "post"}),
        ("    ctx.", {"uid", "tag", "keep_answer"}),
        ("    name.", {"endswith", "glob"}),
        ("    out.attr.", {"mode", "uid"}),
        ("    opens.", {"get", "put", "discard"}),
    ],
)
def test_what_can_follow_a_dot(line: str, expected: set[str]) -> None:
    text = 'filters = FilterSet("x")\nopens = filters.hash("opens", key=u32, value=u64)\n'
    text += f"def f(\n    ctx: Context, name: Name, out: EntryOut\n):\n{line}\n"
    assert expected <= {word.name for word in completions(text, 5, len(line))}


def test_hover_of_structs_members_and_verdicts() -> None:
    text = "def f(ctx: Context, req: OpenIn):\n    req.flags = 1\n    return POSTFILTER\n"
    assert "`open_flags`" in (hover(text, 0, 27) or "")
    assert hover(text, 1, 9) == "`req.flags`: u32"
    assert "then call the postfilter" in (hover(text, 2, 12) or "")
    assert hover(text, 2, 5) is None


@pytest.mark.parametrize(
    ("steps", "status"), [(("initialize", "shutdown", "exit"), 0), (("initialize", "exit"), 1)]
)
def test_the_status_says_whether_the_editor_took_leave(steps: tuple[str, ...], status: int) -> None:
    asked = {"jsonrpc": "2.0", "params": {"capabilities": {}, "processId": None, "rootUri": None}}
    sent = b""
    for number, method in enumerate(steps):
        message = {**asked, "method": method} | ({} if method == "exit" else {"id": number})
        body = json.dumps(message).encode()
        sent += b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    command = [sys.executable, "-m", "fusebpf.cli", "lsp"]
    done = subprocess.run(command, input=sent, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (status, b"")
    assert done.stdout.count(b"Content-Length") == len(steps) - 1
