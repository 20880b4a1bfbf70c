"""Give up for good what the kernel's Landlock can take away: changing any file, TCP, signals to other processes.

It is a second wall: where the kernel has no Landlock, or an old one, less of it stands. See landlock(7).
"""

from __future__ import annotations

import ctypes
import os
import struct

# One number on every architecture.
_CREATE_RULESET = 444
_RESTRICT_SELF = 446
_VERSION = 1

# Every right that changes a file or a folder, by the version of the interface that brought it: writing, removing, making, and then
# moving between folders (2) and truncating (3).
_CHANGES = {1: 1 << 1 | sum(1 << bit for bit in range(4, 13)), 2: 1 << 13, 3: 1 << 14}
_TCP_SINCE, _TCP = 4, 0b11
_SCOPES_SINCE, _SCOPES = 6, 0b11  # abstract sockets, signals


def give_up_changes() -> bool:
    """Forbid this process and what it becomes to change files, to use TCP and to signal strangers; False where there is no Landlock.

    Needs `no_new_privs`. What is open already stays usable.
    """
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    version = syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)
    if version < 1:
        return False
    asked = _ruleset(version)
    ruleset = syscall(_CREATE_RULESET, asked, ctypes.c_size_t(len(asked)), 0)
    if ruleset < 0:
        return False
    try:
        return bool(syscall(_RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


def _ruleset(version: int) -> bytes:
    """Return `struct landlock_ruleset_attr` as long as this version knows it."""
    fields = [sum(rights for since, rights in _CHANGES.items() if since <= version)]
    if version >= _TCP_SINCE:
        fields.append(_TCP)
    if version >= _SCOPES_SINCE:
        fields.append(_SCOPES)
    return struct.pack(f"={len(fields)}Q", *fields)
