# SPDX-License-Identifier: MIT
"""Nothing can be changed: EROFS, as on a read-only file system."""

from fusebpf.filters import read_only

filters = read_only()
