# SPDX-License-Identifier: MIT
"""Owners are shown shifted by 100,000, as a container would see them; stored as they are below."""

from fusebpf.filters import uid_map

filters = uid_map(offset=100000)
