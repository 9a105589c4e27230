# SPDX-License-Identifier: MIT
"""A build backend (PEP 517) that packs this package by itself: the guest can fetch none."""

from __future__ import annotations

import zipfile
from pathlib import Path

INFO = "countwords-1.0.dist-info"
METADATA = {
    f"{INFO}/METADATA": "Metadata-Version: 2.1\nName: countwords\nVersion: 1.0\n",
    f"{INFO}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    f"{INFO}/entry_points.txt": "[console_scripts]\ncountwords = countwords:main\n",
}


def build_wheel(
    wheel_directory: str, config_settings: object = None, metadata_directory: str | None = None
) -> str:
    """Write the wheel and return its name."""
    name = "countwords-1.0-py3-none-any.whl"
    source = Path(__file__).with_name("countwords") / "__init__.py"
    files = {"countwords/__init__.py": source.read_text(), **METADATA}
    record = "".join(f"{path},,\n" for path in [*files, f"{INFO}/RECORD"])
    with zipfile.ZipFile(Path(wheel_directory, name), "w") as wheel:
        for path, text in {**files, f"{INFO}/RECORD": record}.items():
            wheel.writestr(zipfile.ZipInfo(path), text)
    return name
