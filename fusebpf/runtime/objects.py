# SPDX-License-Identifier: MIT
"""The object of what the caller names: a set, a filter file, or an object already."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from fusebpf.build.metadata import Metadata
from fusebpf.objfile import ObjectBytes, check_set, is_object, load, metadata_of

if TYPE_CHECKING:
    from fusebpf.dsl import FilterSet


def object_of(
    filters: FilterSet | ObjectBytes | str | os.PathLike[str], set_name: str | None
) -> tuple[bytes, Metadata, Path]:
    """Bytes and metadata of the object, built first where it is not one yet."""
    if isinstance(filters, ObjectBytes):
        return filters.data, metadata_of(filters), filters.path
    if not isinstance(filters, (str, os.PathLike)):
        from fusebpf.build import build_set

        built = build_set(filters, standins=False)
        return built.data, built.metadata, built.path
    path = Path(filters)
    if is_object(path):
        data, metadata = load(path)
        check_set(path, metadata, set_name)
        return data, metadata, path
    from fusebpf.build import build_file

    built = build_file(path, set_name, standins=False)
    return built.data, built.metadata, built.path
