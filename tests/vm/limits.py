# SPDX-License-Identifier: MIT
"""How long things may take in the guest, on a slow kernel too."""

from __future__ import annotations

import os

SLOWNESS = float(os.environ.get("FUSEBPF_VM_SLOWNESS", "1"))
"""How much longer than on the stock kernel everything may take; the runner says it."""
