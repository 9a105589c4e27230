# SPDX-License-Identifier: MIT
"""At most 100 opens per user in a second, EAGAIN above; `--set rate_limit=20` for less."""

from fusebpf.filters import rate_limit

filters = rate_limit(100, window_ms=1000)
