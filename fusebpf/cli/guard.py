# SPDX-License-Identifier: MIT
"""`fusebpf guard`: rules by path."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fusebpf.cli import arguments
from fusebpf.cli.options import Seconds

if TYPE_CHECKING:
    from fusebpf.guard.audit import Refusal
    from fusebpf.guard.explain import Explanation

_PATH = click.Path(path_type=Path)
_rules = click.option(
    "--rules", "rules_file", type=_PATH, required=True, help="The file of rules (docs/guard.md)."
)
_tree = click.option(
    "--tree",
    type=_PATH,
    default=Path(),
    show_default="the current directory",
    help="The root of the tree that the rules are for.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON (docs/json.md).")


@click.group()
def guard() -> None:
    """Rules by path: what is read-only, refused, hidden or empty."""


@guard.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@_rules
@_tree
@click.option("--uid", type=click.IntRange(0), help="Ask for this user.  [default: your own]")
@click.option("--gid", type=click.IntRange(0), help="Ask for this group.  [default: your own]")
@_json
def explain(
    paths: tuple[str, ...],
    rules_file: Path,
    tree: Path,
    uid: int | None,
    gid: int | None,
    as_json: bool,
) -> None:
    """Tell what PATHs are by the rules: which rule says so, and what each operation gives.

    A PATH need not exist; it counts as a directory when it ends in a slash. Symbolic links in it
    are followed, but for the last name without a slash behind it. Nothing is mounted, and the tree
    itself is asked for links and kinds of files alone: no root is needed.
    """
    from fusebpf.guard.explain import explain as told
    from fusebpf.guard.match import Matcher
    from fusebpf.guard.rules import load

    matcher = Matcher(
        load(rules_file),
        os.geteuid() if uid is None else uid,
        os.getegid() if gid is None else gid,
    )
    found = [told(matcher, tree, path) for path in paths]
    if as_json:
        from fusebpf.cli.output import json_out

        json_out([_shape(explanation) for explanation in found])
        return
    click.echo("\n\n".join(_text(explanation) for explanation in found))


def _shape(explanation: Explanation) -> dict[str, Any]:
    return {
        "path": explanation.path,
        "directory": explanation.directory,
        "links": list(explanation.links),
        "target": explanation.target,
        "state": str(explanation.state),
        "above": explanation.above,
        "rules": [
            {"file": rule.source, "line": rule.line, "rule": str(rule)}
            for rule in explanation.rules
        ],
        "operations": explanation.operations,
    }


def _text(explanation: Explanation) -> str:
    from fusebpf.cli.output import shown

    lines = [f"{shown(explanation.path)}: {explanation.state}"]
    if explanation.above is not None:
        lines[0] += f", as {shown(explanation.above)} is"
    if explanation.links:
        lines.append(f"  reached by the symbolic link {', '.join(map(shown, explanation.links))}")
    if explanation.target is not None:
        lines.append(f"  the symbolic link itself; {shown(explanation.target)} has its own state")
    for number, rule in enumerate(explanation.rules):
        lines.append(f"  {'by' if number == 0 else 'before'} {rule.where}: {shown(str(rule))}")
    if not explanation.rules:
        lines.append("  by no rule")
    width = max(map(len, explanation.operations))
    lines += [f"  {name:{width}}  {told}" for name, told in explanation.operations.items()]
    return "\n".join(lines)


@guard.command()
@click.argument("lower", type=_PATH)
@click.argument("mountpoint", type=_PATH)
@_rules
@click.option("--audit", is_flag=True, help="Send events of what is refused, for guard audit.")
def mount(lower: Path, mountpoint: Path, rules_file: Path, audit: bool) -> None:
    """Mount LOWER at MOUNTPOINT, held to the rules; LOWER is the root of their tree.

    LOWER and MOUNTPOINT may be the same directory. Nothing has to keep running: the rules hold
    until `fusebpf detach MOUNTPOINT` or umount.
    """
    from fusebpf.guard.mounting import mount as mount_guarded
    from fusebpf.guard.rules import load

    mount_guarded(load(rules_file), lower, mountpoint, audit).close()


# Options after the command are the command's, with and without "--".
@guard.command(context_settings={"allow_interspersed_args": False})
@_rules
@_tree
@click.option(
    "--user",
    metavar="USER",
    help="Run it as this user: a name or a number.  [default: you, also under sudo]",
)
@click.option(
    "--audit",
    metavar="FILE",
    type=_PATH,
    help="Add what is refused to this file, JSON lines as of guard audit --json.",
)
@click.argument("command", metavar="COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
def run(
    command: tuple[str, ...],
    rules_file: Path,
    tree: Path,
    user: str | None,
    audit: Path | None,
) -> None:
    """Run COMMAND with the tree held to the rules, at the tree's own path, for it alone.

    It has a mount and a pid namespace of its own, no capabilities and no way to get any, and no
    other path to the tree; docs/guard.md says what is isolated. All of it ends with COMMAND, whose
    status is the one of this command; 128 and the number of a signal. 127: there is no such
    command, 126: it cannot be run. Root is needed, COMMAND does not have it: run it by sudo.
    """
    from fusebpf.guard.rules import load
    from fusebpf.guard.run import Audience, user_named
    from fusebpf.guard.run import run as run_guarded

    rules, who = load(rules_file), user_named(user)
    # Not while the arguments are read, as another one may be wrong.
    context = click.get_current_context()
    record = None if audit is None else click.File("ab").convert(audit, None, context)
    failures: list[OSError] = []

    def tell(refusal: Refusal) -> None:
        import json

        if record is None or failures:
            return
        line = json.dumps(_refused(refusal)).encode() + b"\n"
        try:
            # At once, and without a buffer that would have to be written after a failure.
            if os.write(record.fileno(), line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            failures.append(error)

    status = run_guarded(rules, tree, command, who, Audience(tell, _lost) if record else None)
    for failure in failures:
        click.echo(f"the record {audit} is not complete: {failure.strerror}", err=True)
    raise click.exceptions.Exit(status)


@guard.command()
@arguments.mountpoint()
@_rules
def update(mountpoint: Path, rules_file: Path) -> None:
    """Hold the mount at MOUNTPOINT to other rules from now on.

    Every operation is decided by the old rules or by the new ones. When the new ones cannot be
    held to, the old ones stay. docs/guard.md tells what descriptors keep.
    """
    from fusebpf.guard.mounting import update as update_guarded
    from fusebpf.guard.rules import load

    update_guarded(load(rules_file), mountpoint)


@guard.command()
@arguments.mountpoint()
@_rules
@click.option("--for", "seconds", metavar="S", type=Seconds(), help="Stop after S s.")
@click.option("--count", "most", metavar="N", type=click.IntRange(1), help="Stop after N lines.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, a line each (docs/json.md).")
def audit(
    mountpoint: Path, rules_file: Path, seconds: float | None, most: int | None, as_json: bool
) -> None:
    """Print what a mount of `guard mount --audit` refuses: to whom, which path, by which rule.

    A line each, until MOUNTPOINT is unmounted; --for 0 prints what waits and stops. Each is given
    to one reader. --rules are those that it was mounted with.
    """
    from fusebpf.cli.interrupts import interrupts
    from fusebpf.cli.output import json_out
    from fusebpf.guard.audit import EVENTS, Refusals, is_of_others
    from fusebpf.guard.rules import load
    from fusebpf.runtime.following import Follower

    refusals = Refusals(load(rules_file), mountpoint)
    with interrupts() as interrupted:
        with Follower(mountpoint, (EVENTS,), is_of_others) as follower:
            for batch in follower.follow(seconds, most, lambda: bool(interrupted)):
                for refusal in refusals.of(event for _kind, event in batch):
                    if as_json:
                        json_out(_refused(refusal), indent=None)
                    else:
                        click.echo(_refused_text(refusal))
                sys.stdout.flush()
        _lost(follower.dropped.get(EVENTS, 0))


def _lost(number: int) -> None:
    from fusebpf.cli.output import count

    if number:
        click.echo(f"{count(number, 'event')} lost, as the ring was full", err=True)


def _refused(refusal: Refusal) -> dict[str, Any]:
    rule = refusal.rule
    return {
        "time": refusal.when,
        "pid": refusal.pid,
        "command": refusal.command,
        "uid": refusal.uid,
        "gid": refusal.gid,
        "operation": refusal.operation,
        "path": None if refusal.path is None else os.fsdecode(refusal.path),
        "inode": refusal.inode,
        "name": os.fsdecode(refusal.name),
        "errno": refusal.errno,
        "rule": rule and {"file": rule.source, "line": rule.line, "rule": str(rule)},
    }


def _refused_text(refusal: Refusal) -> str:
    from fusebpf.cli.output import shown

    where = shown(refusal.name) + f" (inode {refusal.inode})" * (not refusal.name)
    if refusal.path is not None:
        where = shown(refusal.path)
    who = f"{refusal.pid} {shown(refusal.command) or '?'} uid={refusal.uid}"
    by = "" if refusal.rule is None else f", {refusal.rule.where}: {shown(str(refusal.rule))}"
    return f"{who} {refusal.operation} {where}: {refusal.errno}{by}"


@guard.command()
@_rules
@_tree
@_json
def lint(rules_file: Path, tree: Path, as_json: bool) -> None:
    """Look for rules without effect, and for secrets in the tree that no rule covers.

    The tree is read with your own rights; what you cannot list is left out. Ends with 1 when there
    is a finding, with 3 when the rules are wrong or too many to be held to.
    """
    from fusebpf.errors import EXIT_FAILURE
    from fusebpf.guard.automaton import build
    from fusebpf.guard.lint import lint as findings
    from fusebpf.guard.rules import load

    rules = load(rules_file)
    build(rules)
    found = findings(rules, tree)
    if as_json:
        from fusebpf.cli.output import json_out

        json_out([{"kind": f.kind, "where": f.where, "message": f.message} for f in found])
    else:
        from fusebpf.cli.output import shown

        for finding in found:
            click.echo(f"{shown(finding.where)}: {finding.message} [{finding.kind}]")
    if found:
        raise click.exceptions.Exit(EXIT_FAILURE)
