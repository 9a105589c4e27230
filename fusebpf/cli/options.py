# SPDX-License-Identifier: MIT
"""Options that several commands have."""

from __future__ import annotations

import math
from typing import Any

import click


class Seconds(click.FloatRange):
    """A time in seconds that sleeping and polling take: no NaN, and 30 years at the most."""

    def __init__(self, least: float = 0, *, above: bool = False) -> None:
        super().__init__(least, 1e9, min_open=above)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        seconds = float(super().convert(value, param, ctx))
        if math.isnan(seconds):
            self.fail(f"{value!r} is no time: give a number of seconds.", param, ctx)
        return seconds


warnings_option = click.option(
    "--warnings",
    type=click.Choice(["show", "error", "hide"]),
    default="show",
    show_default=True,
    help="What to do with warnings; error: end with status 3 when there is one.",
)
