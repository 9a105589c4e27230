# SPDX-License-Identifier: MIT
"""Adds rows to a database in WAL mode and says each number whose transaction was committed."""

from __future__ import annotations

import sqlite3
import sys
from itertools import count


def main(database: str, writer: int) -> None:
    """Add rows until killed; the two writers share the numbers."""
    connection = sqlite3.connect(database, timeout=60, isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_autocheckpoint = 50")
    [(last,)] = connection.execute("SELECT coalesce(max(number), 0) FROM done")
    for number in count(last + 2 - last % 2 + writer, 2):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO done VALUES (?, ?)", (number, f"{number} " * 300))
        connection.execute("COMMIT")
        print(number, flush=True)


main(sys.argv[1], int(sys.argv[2]))
