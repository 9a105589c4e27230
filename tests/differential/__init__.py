# SPDX-License-Identifier: MIT
"""Random operations on a mount and on a bare twin directory, in lock-step.

There is no model of a file system: what the bare directory does is right. `generate` writes
scripts from the kinds in `registry`, which `names`, `files`, `content`, `maps`, `asynchronous`,
`attributes`, `locks` and `sharing` fill. `worker` has the processes that do them, each with a
`world` of its own; `observe` says what is compared, `runner` compares, `shrink` makes failures
small. `lowers` and `twins` make the file systems and the mounts.
"""
