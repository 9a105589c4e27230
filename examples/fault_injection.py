# SPDX-License-Identifier: MIT
"""Every 100th read, write and sync fails with EIO: does the program notice?

`--set fault_every=3 --set fault_errno=28` fails every third one with ENOSPC.
"""

from fusebpf.filters import fault_injection

filters = fault_injection(100)
