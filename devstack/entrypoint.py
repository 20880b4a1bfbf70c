"""Put `lucid` into this interpreter's environment without building or fetching anything: `python -m devstack.entrypoint`.

An editable install would need a build backend, which is one download more than the lock lists.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
# Started through sh: a kernel cuts "#!" lines off at 127 characters, and paths with spaces do not work there at all.
_SCRIPT = """#!/bin/sh
'''exec' "{python}" "$0" "$@"
' '''
from cli.main import main

raise SystemExit(main(prog_name="lucid"))
"""


def main() -> None:
    """Write `lucid` beside the interpreter and the path file that finds the checkout."""
    (Path(sysconfig.get_path("purelib")) / "lucid.pth").write_text(f"{_ROOT}\n", encoding="utf-8")
    script = Path(sysconfig.get_path("scripts")) / "lucid"
    script.write_text(_SCRIPT.format(python=sys.executable), encoding="utf-8")
    script.chmod(0o755)


if __name__ == "__main__":
    main()
