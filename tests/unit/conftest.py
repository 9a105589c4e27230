# SPDX-License-Identifier: MIT
"""No example of hypothesis is judged by the clock: what is beside the tests takes its time, too."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("unit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unit")
