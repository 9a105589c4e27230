# SPDX-License-Identifier: MIT
"""`fusebpf explain`."""

from __future__ import annotations

import click


@click.command()
@click.argument("code")
def explain(code: str) -> None:
    """Tell what a CODE such as E275 means: the usual cause, and mistakes with their fix."""
    from fusebpf.codes import table
    from fusebpf.codes.markdown import explain as text
    from fusebpf.errors import UsageError
    from fusebpf.spelling import closest

    known = table()
    found = known.get(code.upper())
    if found is None:
        near = closest(code.upper(), known)
        raise UsageError(
            f"there is no code {code!r}",
            f"did you mean {near!r}? docs/errors.md has them all" if near else "see docs/errors.md",
        )
    click.echo(text(found))
