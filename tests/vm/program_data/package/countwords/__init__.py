# SPDX-License-Identifier: MIT
"""Counts the words of files."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    for name in sys.argv[1:]:
        print(name, len(Path(name).read_text().split()))
