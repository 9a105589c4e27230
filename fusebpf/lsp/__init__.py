# SPDX-License-Identifier: MIT
"""`fusebpf lsp`: what editors ask about filter files, over the Language Server Protocol."""
