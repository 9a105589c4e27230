# SPDX-License-Identifier: MIT
"""Options that several commands have."""

from __future__ import annotations

import click

warnings_option = click.option(
    "--warnings",
    type=click.Choice(["show", "error", "hide"]),
    default="show",
    show_default=True,
    help="What to do with warnings; error: end with status 3 when there is one.",
)
