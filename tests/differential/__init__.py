# SPDX-License-Identifier: MIT
"""Random operations on a mount and on a bare twin directory, in lock-step.

There is no model of a file system: what the bare directory does is right. `operations` holds what
can be done, `world` one of the two sides, `observe` what is compared, `runner` the comparison and
the shrinking of failures.
"""
