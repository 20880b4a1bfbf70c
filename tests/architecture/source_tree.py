"""The checkout as its tests read it: which files belong to it, and what Python files import and read."""

from __future__ import annotations

import ast
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("config", "web", "workers", "shared", "devstack", "cli")
_NOT_OURS = frozenset({".git", ".venv", ".lucid", "__pycache__"})


def files() -> list[Path]:
    """Return every file that is or may become part of the repository; without git, every file outside caches."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0:
        return sorted(
            ROOT / name for name in os.fsdecode(listed.stdout).split("\0") if name and (ROOT / name).is_file()
        )
    return sorted(_walk(ROOT))


def python_files(*packages: str) -> list[Path]:
    """Return the Python files of `packages`, in order."""
    return [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]


def name_of(path: Path) -> str:
    """Return the path as people write it: relative, with slashes."""
    return path.relative_to(ROOT).as_posix()


def tree_of(path: Path) -> ast.Module:
    """Return the syntax tree of a Python file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def module_of(path: Path) -> str:
    """Return the dotted name under which a Python file is imported."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path) -> set[str]:
    """Return the dotted names that a file imports, anywhere in it: `from a import b` is both `a` and `a.b`."""
    found: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def _walk(folder: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        if entry.name in _NOT_OURS or entry.name.endswith("_cache") or entry.name == ".hypothesis":
            continue
        if entry.is_dir():
            yield from _walk(entry)
        else:
            yield entry
