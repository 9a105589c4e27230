# SPDX-License-Identifier: MIT
"""``python -m fusebpf.vm``: the same as ``fusebpf vm``."""

from fusebpf.cli.vm import vm

if __name__ == "__main__":
    vm(prog_name="fusebpf vm")
