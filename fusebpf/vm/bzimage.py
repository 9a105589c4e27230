# SPDX-License-Identifier: MIT
"""Kernel images: the release they name, and the ELF kernel packed in a bzImage."""

from __future__ import annotations

import lzma
import re
import struct
import zlib
from pathlib import Path

from fusebpf.vm.errors import PrepareError
from fusebpf.vm.initramfs import unzstd


def image_release(data: bytes, path: Path) -> str:
    """Return the release (``uname -r``) written in a bzImage or an ELF vmlinux.

    The bzImage's pointer is at 0x20e (Documentation/arch/x86/boot.rst).

    Raises:
        PrepareError: ``data`` is neither.
    """
    if _is_bzimage(data):
        (offset,) = struct.unpack_from("<H", data, 0x20E)
        text = data[offset + 0x200 : offset + 0x400].split(b"\0")[0]
        return text.split()[0].decode()
    found = re.search(rb"Linux version (\S+)", data) if data[:4] == b"\x7fELF" else None
    if found is None:
        raise PrepareError(f"{path} is no kernel image", "give a bzImage (vmlinuz) or a vmlinux")
    return found[1].decode()


def unpack_image(data: bytes, path: Path) -> bytes:
    """Return the ELF kernel inside a bzImage: QEMU enters it directly (PVH).

    An emulated processor needs seconds to do the same. The payload's place is in the setup header:
    payload_offset at 0x248, payload_length at 0x24c (Documentation/arch/x86/boot.rst).
    """
    if not _is_bzimage(data):
        return data
    sectors = data[0x1F1] or 4
    offset, length = struct.unpack_from("<II", data, 0x248)
    start = (sectors + 1) * 512 + offset
    payload = data[start : start + length]
    if payload[:4] == b"\x28\xb5\x2f\xfd":
        kernel = unzstd(payload[:-4])  # the last four bytes are the unpacked size
    elif payload[:6] == b"\xfd7zXZ\0":
        kernel = lzma.LZMADecompressor().decompress(payload)
    elif payload[:2] == b"\x1f\x8b":
        kernel = zlib.decompressobj(31).decompress(payload)
    else:
        raise PrepareError(f"{path}: its payload is packed in an unknown way ({payload[:6].hex()})")
    if kernel[:4] != b"\x7fELF":
        raise PrepareError(f"{path}: its payload is no ELF file")
    return kernel


def _is_bzimage(data: bytes) -> bool:
    return data[0x202:0x206] == b"HdrS"
