# SPDX-License-Identifier: MIT
"""Latencies and verdicts of a mount's operations, by bcc: the mount needs no preparation."""

from fusebpf.trace.latency import Answer, Latency, Tracer

__all__ = ["Answer", "Latency", "Tracer"]
