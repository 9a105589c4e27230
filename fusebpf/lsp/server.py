# SPDX-License-Identifier: MIT
"""The language server: pygls speaks the protocol, this file answers."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from urllib.parse import unquote, urlparse

from lsprotocol import converters, types
from pygls.lsp.server import LanguageServer

from fusebpf import __version__
from fusebpf.compiler.edits import source_lines
from fusebpf.lsp import knowledge

#: Files that import this package are filter files; others are left alone.
_OURS = re.compile(r"^[\s\ufeff]*(?:from|import)\s+fusebpf\b", re.MULTILINE)
#: A file that takes longer than this to be read says nothing.
_TIMEOUT = 20

_CONVERTER = converters.get_converter()
_KINDS = {
    "method": types.CompletionItemKind.Method,
    "field": types.CompletionItemKind.Field,
    "hook": types.CompletionItemKind.Event,
}

server = LanguageServer(
    "fusebpf",
    __version__,
    # Changes of parts would be made in lines as str.splitlines() has them.
    text_document_sync_kind=types.TextDocumentSyncKind.Full,
)
#: What was found last, by URI: an editor asks for the edits of a place.
_found: dict[str, list[types.Diagnostic]] = {}


def serve() -> int:
    """Serve until the editor leaves. The exit status is 1 when it did not ask for that before."""
    asked: list[None] = []

    @server.feature(types.SHUTDOWN)
    def _asked(_params: None) -> None:
        asked.append(None)

    # pygls closes what it writes to; stdout is the caller's.
    with os.fdopen(os.dup(1), "wb") as out:
        server.start_io(stdout=out)
    return 0 if asked else 1


@server.feature(types.TEXT_DOCUMENT_DID_OPEN)
async def _opened(params: types.DidOpenTextDocumentParams) -> None:
    await _check(params.text_document.uri)


@server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
async def _changed(params: types.DidChangeTextDocumentParams) -> None:
    await _check(params.text_document.uri)


@server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
def _closed(params: types.DidCloseTextDocumentParams) -> None:
    _found.pop(params.text_document.uri, None)
    _publish(params.text_document.uri, [], None)


async def _check(uri: str) -> None:
    document = server.workspace.get_text_document(uri)
    version, text = document.version, document.source
    diagnostics: list[types.Diagnostic] = []
    if _OURS.search(text):
        # There may be no such file; the name is shown, and looked beside.
        path = unquote(urlparse(uri).path).replace("\0", "%00")
        shapes = await _diagnostics(path, text)
        diagnostics = [_CONVERTER.structure(shape, types.Diagnostic) for shape in shapes]
    # While it was checked, the text may have been changed: a later answer is on its way.
    if server.workspace.get_text_document(uri).version == version:
        _found[uri] = diagnostics
        _publish(uri, diagnostics, version)


async def _diagnostics(path: str, text: str) -> list[object]:
    worker = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "fusebpf.lsp.worker", path),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        # A lone surrogate is in no file; "?" is as long.
        sent = text.encode(errors="replace")
        out, _ = await asyncio.wait_for(worker.communicate(sent), _TIMEOUT)
    except TimeoutError:
        worker.kill()
        await worker.wait()
        return []
    if not out:
        return []
    shapes = json.loads(out)
    return shapes if isinstance(shapes, list) else []


def _publish(uri: str, diagnostics: list[types.Diagnostic], version: int | None) -> None:
    server.text_document_publish_diagnostics(
        types.PublishDiagnosticsParams(uri=uri, diagnostics=diagnostics, version=version)
    )


@server.feature(
    types.TEXT_DOCUMENT_CODE_ACTION,
    types.CodeActionOptions(code_action_kinds=[types.CodeActionKind.QuickFix]),
)
def _actions(params: types.CodeActionParams) -> list[types.CodeAction]:
    uri = params.text_document.uri
    wanted = (params.range.start.line, params.range.end.line)
    actions = []
    for entry in _found.get(uri, []):
        if not wanted[0] <= entry.range.start.line <= wanted[1]:
            continue
        for fix in (entry.data or {}).get("fixes", ()):
            edits = [_CONVERTER.structure(edit, types.TextEdit) for edit in fix["edits"]]
            actions.append(
                types.CodeAction(
                    title=fix["title"],
                    kind=types.CodeActionKind.QuickFix,
                    diagnostics=[entry],
                    edit=types.WorkspaceEdit(changes={uri: edits}),
                    is_preferred=fix["applicability"] == "safe",
                )
            )
    return actions


@server.feature(types.TEXT_DOCUMENT_COMPLETION, types.CompletionOptions(trigger_characters=["."]))
def _completions(params: types.CompletionParams) -> list[types.CompletionItem]:
    text, line, column = _place(params.text_document.uri, params.position)
    return [
        types.CompletionItem(label=word.name, detail=word.detail or None, kind=_KINDS[word.kind])
        for word in knowledge.completions(text, line, column)
    ]


@server.feature(types.TEXT_DOCUMENT_HOVER)
def _hover(params: types.HoverParams) -> types.Hover | None:
    text, line, column = _place(params.text_document.uri, params.position)
    found = knowledge.hover(text, line, column)
    if found is None:
        return None
    return types.Hover(types.MarkupContent(types.MarkupKind.Markdown, found))


def _place(uri: str, position: types.Position) -> tuple[str, int, int]:
    """The text, and a position in it counted in characters."""
    document = server.workspace.get_text_document(uri)
    lines = source_lines(document.source)
    inside = document.position_codec.position_from_client_units(lines, position)
    return document.source, inside.line, inside.character
