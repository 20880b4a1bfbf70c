"""What must not stand in any file, and what must stand in every public function of the product."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.architecture.source_tree import PACKAGES, ROOT, files, name_of, python_files, tree_of

# A path of somebody's machine. /home/… needs a name after it, so that prose about homes is no hit.
MACHINE_PATH = re.compile(r"(?<![\w.:/}$-])/(?:work|root|Users|home/\w+|opt/\w+|tmp/\w+)(?:/|\b)")
INDEX_ADDRESS = re.compile(
    r"pythonhosted\.org|/simple/|(?<!no-emit-)index[-_]url[ =]+\S*://|find-links[ =]+\S*/|trusted-host", re.IGNORECASE
)
UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX)\b|NotImplementedError")
NEVER = re.compile(r"task_always" + "_eager")
# pins of other files, and a list that names the words it looks for
BINARY = {".png", ".ico", ".woff2", ".gguf"}
THIS = Path(__file__).resolve()


def texts() -> dict[str, str]:
    return {
        name_of(path): path.read_text(encoding="utf-8")
        for path in files()
        if path.suffix not in BINARY and path != THIS
    }


def lines_with(pattern: re.Pattern[str], within: dict[str, str]) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()[:120]}"
        for name, text in within.items()
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]


def test_no_file_holds_a_path_of_somebodys_machine() -> None:
    assert lines_with(MACHINE_PATH, texts()) == []


def test_no_file_holds_the_address_of_a_package_index() -> None:
    assert lines_with(INDEX_ADDRESS, texts()) == []


def test_every_locked_package_is_pinned_with_hashes() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    blocks = [block for block in re.split(r"\n(?=\S)", lock) if not block.startswith("#")]
    assert len(blocks) > 100
    assert [block.splitlines()[0] for block in blocks if not re.match(r"[a-z0-9._-]+(\[[a-z,]+\])?==\S+", block)] == []
    assert [block.splitlines()[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_celery_is_never_run_in_the_caller() -> None:
    python = {name: text for name, text in texts().items() if name.endswith(".py")}
    assert lines_with(NEVER, python) == []


def test_nothing_is_left_for_later() -> None:
    python = {
        name: text
        for name, text in texts().items()
        if name.endswith((".py", ".sql", ".sh")) and not name.startswith("tests/")
    }
    assert lines_with(UNFINISHED, python) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_function_class_and_module_says_what_it_is(package: str) -> None:
    silent = [
        f"{name_of(path)}:{getattr(node, 'lineno', 1)}"
        for path in python_files(package)
        if path.stat().st_size
        for node in _public(tree_of(path))
        if ast.get_docstring(node) is None
    ]
    assert silent == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    empty = {"util", "utils", "helper", "helpers", "common", "manager", "managers", "misc", "base", "data", "info"}
    assert [
        name_of(path) for path in python_files(*PACKAGES, "tests") if path.stem in empty or path.parent.name in empty
    ] == []


def _public(tree: ast.Module) -> list[ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """Return the module, its public classes and functions, and the public methods of those classes."""
    found: list[ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef] = [tree]
    scopes: list[ast.Module | ast.ClassDef] = [tree]
    for scope in scopes:
        for node in scope.body:
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
                continue
            found.append(node)
            if isinstance(node, ast.ClassDef):
                scopes.append(node)
    return found
