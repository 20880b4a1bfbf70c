"""Become a confined deno: `python -m shared.sandbox.deno_start PARENT CPU_S DATA_MB DENO ARGUMENT…`."""

from __future__ import annotations

import os
import sys

from shared.sandbox.confinement import confine, end_with_parent
from shared.sandbox.landlock import give_up_changes

_MOST_FILE_BYTES = 0
_OPEN_FILES = 256
_ENVIRONMENT = {"DENO_DIR": "/dev/null/none", "DENO_WEBGPU_BACKEND": "none", "NO_COLOR": "1"}


def main(arguments: list[str]) -> None:
    """Lower this process's limits, tie it to its parent and replace it by deno, whose environment is all but empty.

    There is no place for deno to keep anything: what it would cache is the submitted code. No graphics driver is loaded for it either.
    """
    parent, cpu_s, data_mb, *command = arguments
    end_with_parent(int(parent))
    confine(cpu_s=int(cpu_s), data_mb=int(data_mb), file_bytes=_MOST_FILE_BYTES, open_files=_OPEN_FILES)
    give_up_changes()
    os.execve(command[0], command, _ENVIRONMENT)  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
