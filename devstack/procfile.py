"""Read the Procfile: one `name: shell line` each."""

from __future__ import annotations

import re
from pathlib import Path

from devstack.faults import StackFault

_LINE = re.compile(r"^([A-Za-z0-9_-]+):\s*(\S.*)$")
RELEASE = "release"


def read_procfile(path: Path) -> dict[str, str]:
    """Answer name → shell line, in the file's order. Raises `StackFault` for a line that is neither that nor a comment."""
    lines: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.match(line)
        if match is None:
            raise StackFault(f"{path.name} line {number} is not `name: command`")
        lines[match.group(1)] = match.group(2)
    return lines
