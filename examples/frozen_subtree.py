# SPDX-License-Identifier: MIT
"""What lies in a directory `vendor` or `.git` is changed by root alone: EROFS for all others."""

from fusebpf.filters import read_only

filters = read_only(below=["vendor", ".git"], writers=[0])
