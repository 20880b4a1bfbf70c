"""The kernel's second wall around deno."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_TRIES = """
import os, socket, sys
from shared.sandbox.confinement import end_with_parent
from shared.sandbox.landlock import give_up_changes

end_with_parent(os.getppid())
if not give_up_changes():
    raise SystemExit(77)
for reach in (
    lambda: open(sys.argv[1] + "/new", "w"),
    lambda: os.mkdir(sys.argv[1] + "/folder"),
    lambda: os.remove(sys.argv[1] + "/old"),
):
    try:
        reach()
    except PermissionError:
        continue
    raise SystemExit(1)
"""


def test_a_process_that_gave_up_changes_makes_and_removes_nothing(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("kept")
    ended = subprocess.run([sys.executable, "-c", _TRIES, str(tmp_path)])
    if ended.returncode == 77:
        pytest.skip("this kernel has no Landlock")
    assert ended.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
