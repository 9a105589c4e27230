# SPDX-License-Identifier: MIT
"""`python -m fusebpf.cli`."""

from fusebpf.cli import main

main()
