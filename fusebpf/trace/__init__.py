# SPDX-License-Identifier: MIT
"""Latencies of a mount's operations, traced with bcc on a mount that was not prepared for it."""

from fusebpf.trace.latency import Latency, Tracer

__all__ = ["Latency", "Tracer"]
