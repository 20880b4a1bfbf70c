"""Who calls whom in the product's source, and which failpoint's block a call stands in. No type inference: the code's own habits do.

A collaborator is kept as `self._name` under the type that `__init__` annotates, a container's part is named by its property's
return type, a module by its import. What is handed to the step machinery runs inside the machinery's own failpoint.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from shared.db.model import Queries
from tests.architecture.source_tree import ROOT, module_of, python_files, tree_of

Function = ast.FunctionDef | ast.AsyncFunctionDef
MARK = "failpoint"
BOUNDARY = "before:"

# What is handed to these, at these places or under these keywords, runs inside the failpoint named.
RUNS_WHAT_IT_IS_HANDED: dict[str, tuple[str, frozenset[int | str]]] = {
    "perform": ("step.finish", frozenset({"finish", "give_up"})),
    "_perform": ("step.finish", frozenset({3})),
    "_finish": ("step.finish", frozenset({1})),
    "_insist": ("step.finish", frozenset({0})),
    "tick": ("tick.turn", frozenset({1, "on_set_back"})),
}
CLIENT = re.compile(r"shared\.(?:\w+\.)+(client|clients\.\w+|anchors\.\w+):")
NODE = "shared.lightning.model:Node."
# Who is called where a protocol's method is: the classes that the composition root hands in for it.
STANDS_FOR = {
    "shared.agent.settlement:Funding": (
        "shared.agent.funding:JobFunding",
        "shared.agent.sessions.funding:SessionFunding",
        "shared.plans.funding:PlanFunding",
    ),
}
WRITES = ("INSERT INTO", "DELETE FROM", "COPY ")


@dataclass(frozen=True)
class Site:
    """One place where a function is called or handed on. `inside`: the failpoints whose blocks it stands in."""

    target: str
    caller: str
    where: str
    inside: frozenset[str]


@dataclass
class SourceCalls:
    """All calls of `shared` and `workers`."""

    packages: tuple[str, ...] = ("shared", "workers")
    sites: list[Site] = field(default_factory=list)
    marks: dict[str, list[str]] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)

    def __post_init__(self) -> None:
        modules = [
            (module_of(path), tree_of(path), path) for path in python_files(*self.packages) if path.stat().st_size
        ]
        for name, tree, _ in modules:
            self.functions |= dict(_functions(tree, name))
        held = _held_types(tree for _, tree, _ in modules)
        for name, tree, path in modules:
            reader = _Reader(self, name, path, imported=_imports(tree), held=held)
            reader.visit(tree)

    @cached_property
    def by_target(self) -> dict[str, list[Site]]:
        """Sites by the function they name."""
        found: dict[str, list[Site]] = {}
        for site in self.sites:
            found.setdefault(site.target, []).append(site)
        return found

    def bare_paths(self, target: str, *, excused: Collection[str]) -> list[str]:
        """Return the ways to `target` that enter no failpoint's block, outermost function first.

        An `excused` function ends the search, as a failpoint does.
        """
        paths: list[str] = []
        seen: set[str] = set()
        waiting = [(site, site.where) for site in self.by_target.get(target, []) if not site.inside]
        while waiting:
            site, below = waiting.pop()
            if site.caller in seen or short(site.caller) in excused:
                continue
            seen.add(site.caller)
            callers = self.by_target.get(site.caller, [])
            if not callers:
                paths.append(f"{short(site.caller)} reaches {short(target)} at {below}")
            waiting.extend((above, f"{above.where} > {below}") for above in callers if not above.inside)
        return paths

    def writers(self) -> list[str]:
        """Return every function that runs a statement which changes rows."""
        return [name for name, function in self.functions.items() if _writes(name, function)]

    def outside(self) -> list[str]:
        """Return every function of a client that somebody else calls: what reaches beyond this process and its database."""
        called = {
            target for target, sites in self.by_target.items() if any(not CLIENT.match(site.caller) for site in sites)
        }
        return sorted(name for name in called if CLIENT.match(name) or name.startswith(NODE))


class _Reader(ast.NodeVisitor):
    def __init__(
        self, calls: SourceCalls, module: str, path: Path, *, imported: dict[str, str], held: dict[str, str]
    ) -> None:
        self._calls = calls
        self._module = module
        self._path = path
        self._imported = imported
        self._held = held
        self._class = ""
        self._scopes: list[str] = []
        self._inside: list[str] = []

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        outer, self._class = self._class, node.name
        self.generic_visit(node)
        self._class = outer

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        outer, self._inside = self._inside, []
        self._scopes.append(node.name)
        for statement in node.body:
            self.visit(statement)
        self._scopes.pop()
        self._inside = outer

    def visit_With(self, node: ast.With) -> None:
        entered = [mark for item in node.items if (mark := _mark(item.context_expr)) is not None]
        for mark in entered:
            self._calls.marks.setdefault(mark, []).append(self._where(node))
        for item in node.items:
            self.visit(item.context_expr)
        self._inside.extend(entered)
        for statement in node.body:
            self.visit(statement)
        del self._inside[len(self._inside) - len(entered) :]

    def visit_Call(self, node: ast.Call) -> None:
        self._note_reach(node)
        self.visit(node.func)
        called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        mark, places = RUNS_WHAT_IT_IS_HANDED.get(called, ("", frozenset[int | str]()))
        given: list[tuple[int | str, ast.expr]] = [*enumerate(node.args)]
        given += [(keyword.arg or "", keyword.value) for keyword in node.keywords]
        for place, argument in given:
            entered = [mark] if place in places else []
            self._inside.extend(entered)
            self.visit(argument)
            del self._inside[len(self._inside) - len(entered) :]

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self._note(self._resolve_name(node.id), node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._note(self._resolve_attribute(node), node)
        self.generic_visit(node)

    def _note_reach(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id == "reach" and isinstance(node.args[0], ast.Constant):
            point = str(node.args[0].value)
            if point.startswith(BOUNDARY):
                self._calls.marks.setdefault(point.removeprefix(BOUNDARY), []).append(self._where(node))

    def _note(self, target: str | None, node: ast.expr) -> None:
        if target is None or not self._scopes:
            return
        protocol, _, method = target.rpartition(".")
        for meant in (target, *(f"{implementation}.{method}" for implementation in STANDS_FOR.get(protocol, ()))):
            self._calls.sites.append(Site(meant, self._caller(), self._where(node), frozenset(self._inside)))

    def _caller(self) -> str:
        return _qualified(self._module, self._class, *self._scopes)

    def _where(self, node: ast.AST) -> str:
        return f"{self._path.relative_to(ROOT).as_posix()}:{getattr(node, 'lineno', 0)}"

    def _resolve_name(self, name: str) -> str | None:
        for depth in range(len(self._scopes), 0, -1):  # a function defined in this function, or in one around it
            local = _qualified(self._module, self._class, *self._scopes[:depth], name)
            if local in self._calls.functions:
                return local
        here = _qualified(self._module, "", name)
        if here in self._calls.functions:
            return here
        module, _, function = self._imported.get(name, "").rpartition(".")
        there = _qualified(module, "", function)
        return there if there in self._calls.functions else None

    def _resolve_attribute(self, node: ast.Attribute) -> str | None:
        owner = node.value
        if isinstance(owner, ast.Name) and owner.id == "self":
            return self._known(_qualified(self._module, self._class, node.attr))
        if isinstance(owner, ast.Name) and owner.id in self._imported:
            return self._known(_qualified(self._imported[owner.id], "", node.attr))
        if isinstance(owner, ast.Call) and isinstance(owner.func, ast.Attribute):
            owner = owner.func  # self._lnd().add_invoice: what the method returns
        if isinstance(owner, ast.Subscript):
            owner = owner.value  # self._fundings[kind].paid: one of those that are held
        if isinstance(owner, ast.Name):
            owner = ast.Attribute(owner, f"_{owner.id}")  # a parameter goes by the name of the part that it is
        if isinstance(owner, ast.Attribute):
            held = self._held.get(owner.attr)
            return self._known(f"{held}.{node.attr}") if held else None
        return None

    def _known(self, name: str) -> str | None:
        return name if name in self._calls.functions else None


def short(name: str) -> str:
    """Return a function's name as people say it: without its module."""
    return name.partition(":")[2]


def _qualified(module: str, in_class: str, *names: str) -> str:
    return f"{module}:{'.'.join(filter(None, (in_class, *names)))}"


def _mark(expression: ast.expr) -> str | None:
    if isinstance(expression, ast.Call) and isinstance(expression.func, ast.Name) and expression.func.id == MARK:
        return str(ast.literal_eval(expression.args[0]))
    return None


def _functions(tree: ast.Module, module: str) -> Iterator[tuple[str, Function]]:
    def within(node: ast.AST, *path: str) -> Iterator[tuple[str, Function]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                inner = (*path, child.name)
                if not isinstance(child, ast.ClassDef):
                    yield f"{module}:{'.'.join(inner)}", child
                yield from within(child, *inner)
            else:
                yield from within(child, *path)

    return within(tree)


def _imports(tree: ast.Module) -> dict[str, str]:
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _held_types(trees: Iterator[ast.Module]) -> dict[str, str]:
    """Return the qualified class by the name under which a part is held: `_work` and, in the container, `work`."""
    kept = [(tree, _classes_imported(tree)) for tree in trees]
    everywhere: dict[str, str] = {}
    for _, imported in kept:
        everywhere |= imported
    found: dict[str, str] = {}
    for tree, imported in kept:
        homes = everywhere | imported  # two rooms may have a class of one name
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef):
                continue
            if node.name == "__init__":
                for argument in [*node.args.args, *node.args.kwonlyargs]:
                    _hold(found, f"_{argument.arg}", argument.annotation, homes)
            elif not node.args.args[1:]:
                _hold(found, node.name, node.returns, homes)
    return found


def _classes_imported(tree: ast.Module) -> dict[str, str]:
    return {
        name: dotted for name, dotted in _imports(tree).items() if dotted.startswith("shared.") and name[0].isupper()
    }


def _hold(found: dict[str, str], name: str, annotation: ast.expr | None, homes: dict[str, str]) -> None:
    names = [part.id for part in ast.walk(annotation) if isinstance(part, ast.Name)] if annotation else []
    for known in (homes[part] for part in names if part in homes):
        module, _, class_name = known.rpartition(".")
        found.setdefault(name, f"{module}:{class_name}")


def _writes(name: str, function: Function) -> bool:
    used = [
        node.slice.value
        for node in ast.walk(function)
        if isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id == "SQL"
        and isinstance(node.slice, ast.Constant)
    ]
    if not used:
        return False
    queries = Queries.beside(str(ROOT / f"{name.partition(':')[0].replace('.', '/')}.py"))
    return any(_is_write(queries[str(query)]) for query in used)


def _is_write(sql: str) -> bool:
    words = " ".join(line for line in sql.splitlines() if not line.lstrip().startswith("--")).upper()
    return any(verb in words for verb in WRITES) or (" SET " in f" {words} " and "UPDATE " in words)
