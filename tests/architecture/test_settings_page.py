"""`.env.example` against `config/settings.py`, and against what else the programs read."""

from __future__ import annotations

import ast
import dataclasses
import re

import pytest

from config.settings import Settings, SettingsError
from tests.architecture.settings_page import filled_in, sections, settings
from tests.architecture.source_tree import ROOT, name_of, python_files, tree_of

# read by a program, and not the operator's to set: the platform's, or handed by one process of ours to its child
NOT_OURS_TO_SET = {"PATH", "HOME", "XDG_CACHE_HOME", "FLOWER_BASIC_AUTH", "LLM_SERVER_API_KEY"}


def names_that_settings_read() -> list[str]:
    """Every variable that `Settings.load` asks its reader for."""
    return [
        str(node.args[0].value)
        for node in ast.walk(tree_of(ROOT / "config/settings.py"))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "reader"
        and isinstance(node.args[0], ast.Constant)
    ]


def names_that_programs_read() -> dict[str, str]:
    """Every other upper-case name that is looked up in an environment, and where."""
    found = {}
    for path in python_files("web", "workers", "shared", "devstack", "cli"):
        for node in ast.walk(tree_of(path)):
            name = _looked_up(node)
            if name is not None and re.fullmatch(r"[A-Z][A-Z0-9_]+", name):
                found[name] = name_of(path)
    return found


def test_the_page_lists_just_what_settings_read() -> None:
    read = names_that_settings_read()
    assert len(read) == len(set(read)) == len(dataclasses.fields(Settings))
    assert sorted(settings().names) == sorted(read)


def test_the_page_as_it_stands_names_every_blank_at_once() -> None:
    blank = {name for name, value in settings().given.items() if not value}
    with pytest.raises(SettingsError) as refused:
        Settings.load(settings().given)
    assert {fault.split()[0] for fault in refused.value.faults} == blank


def test_the_defaults_on_the_page_are_the_defaults() -> None:
    assert Settings.load({**filled_in(), **settings().defaults}) == Settings.load(filled_in())


def test_no_secret_on_the_page_has_a_value() -> None:
    secret = re.compile(r"(_KEY|_TOKEN|PASSWORD|LND_MACAROON\w*)$")
    valued = [
        name
        for part in sections()
        for name, value in {**part.given, **part.defaults}.items()
        if value and secret.search(name)
    ]
    assert valued == []


def test_what_programs_read_besides_stands_in_the_section_for_it() -> None:
    _settings, process_level, _compose = sections()
    read = set(names_that_programs_read()) - set(names_that_settings_read()) - NOT_OURS_TO_SET
    assert sorted(process_level.names) == sorted(read)


def _looked_up(node: ast.AST) -> str | None:
    """Return the name in `environment.get("NAME")`, `….pop("NAME")` or `environment["NAME"]`, for whatever is called so."""
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("get", "pop")
        and node.args
    ):
        where, key = node.func.value, node.args[0]
    elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
        where, key = node.value, node.slice
    else:
        return None
    if not isinstance(key, ast.Constant) or not isinstance(key.value, str):
        return None
    return key.value if _is_environment(where) else None


def _is_environment(where: ast.expr) -> bool:
    name = where.attr if isinstance(where, ast.Attribute) else where.id if isinstance(where, ast.Name) else ""
    return name.strip("_") in ("environ", "environment", "user", "base")
