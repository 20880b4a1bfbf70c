"""What generated code is called by: fixed before it is written, so that specifications and code speak of the same names."""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from shared.source.outline import outline

_NAME = re.compile(r"[A-Za-z_]\w*\Z", re.ASCII)
_CALLED = re.compile(r"(?<![\w.])([A-Za-z_]\w*)\(([^()\n]{0,200})\)", re.ASCII)
_TYPE_CHARS = re.compile(r"[^\w\s\[\]{}()<>|&.,:?'\"=*~-]")
_WORDS_OF_SCRIPT = """
    arguments await break case catch class const continue debugger default delete do else enum eval export extends false finally for
    function if implements import in instanceof interface let new null package private protected public return static super switch
    this throw true try typeof var void while with yield
"""
_RESERVED_IN_SCRIPT = frozenset(_WORDS_OF_SCRIPT.split())
_TEXT_TYPES = frozenset({"str", "string", "text"})


class Shape(StrEnum):
    """What is called."""

    FUNCTION = "function"
    CLASS = "class"


@dataclass(frozen=True)
class Parameter:
    """One parameter. `type`: as the model words it; only the languages that write types show it."""

    name: str
    type: str


@dataclass(frozen=True)
class Method:
    """One method of a class."""

    name: str
    parameters: tuple[Parameter, ...]
    returns: str


@dataclass(frozen=True)
class Interface:
    """A function, or a class with methods. `parameters`: the function's, or the constructor's."""

    shape: Shape
    name: str
    parameters: tuple[Parameter, ...]
    returns: str
    methods: tuple[Method, ...] = ()

    def text(self, language: str) -> str:
        """Return the declaration without a body, as `language` writes it, or near enough where we don't know it."""
        if language == "python":
            return _python(self)
        typed = language != "javascript"
        head = f"({_parameters(self.parameters, typed=typed)})"
        if self.shape is Shape.FUNCTION:
            word = "function " if language in {"javascript", "typescript"} else ""
            return f"{word}{self.name}{head}{_returns(self.returns, typed=typed)}"
        members = [f"constructor{head}"]
        members += [
            f"{one.name}({_parameters(one.parameters, typed=typed)}){_returns(one.returns, typed=typed)}"
            for one in self.methods
        ]
        return f"class {self.name} {{ {'; '.join(members)} }}"

    @property
    def gives_text(self) -> bool:
        """True where the function, or every method, returns a string."""
        kinds = [one.returns for one in self.methods] if self.shape is Shape.CLASS else [self.returns]
        return bool(kinds) and all(kind.strip().lower() in _TEXT_TYPES for kind in kinds)


def interface_of(answer: Mapping[str, Any], *, task: str, language: str) -> Interface | None:
    """Return the interface in the model's answer; None where it names what cannot be a name.

    A function that the task itself writes as a call, `slugify(title)`, is called that, whatever the model has made of it.
    """
    shape = Shape(answer["kind"])
    methods = tuple(
        Method(
            _safe(one["name"], language), _read_parameters(one["parameters"], language), _type(one["returns"], language)
        )
        for one in answer["methods"]
    )
    if shape is Shape.CLASS and not methods:
        return None
    read = Interface(
        shape=shape,
        name=_safe(answer["name"], language),
        parameters=_read_parameters(answer["parameters"], language),
        returns=_type(answer["returns"], language),
        methods=methods if shape is Shape.CLASS else (),
    )
    read = _as_stated(read, task, language)
    return read if _is_sound(read) else None


def stated_call(task: str) -> tuple[str, tuple[str, ...]] | None:
    """Return name and parameters of the first call written in `task` whose arguments are plain names."""
    for found in _CALLED.finditer(task):
        arguments = [part.partition(":")[0].partition("=")[0].strip() for part in found[2].split(",")]
        arguments = [argument for argument in arguments if argument]
        if all(_NAME.match(argument) for argument in arguments):
            return found[1], tuple(arguments)
    return None


def quoted(text: str) -> str:
    """Return `text` as a string literal that Python, JavaScript and TypeScript read alike."""
    return json.dumps(text, ensure_ascii=False)


def _as_stated(read: Interface, task: str, language: str) -> Interface:
    stated = stated_call(task)
    if stated is None or read.shape is Shape.CLASS or read.name == stated[0]:
        return read
    name, arguments = _safe(stated[0], language), stated[1]
    if len(arguments) == len(read.parameters):
        return replace(read, name=name)
    return replace(read, name=name, parameters=tuple(Parameter(_safe(one, language), "unknown") for one in arguments))


def _is_sound(read: Interface) -> bool:
    names = [read.name, *(one.name for one in read.methods)]
    for parameters in (read.parameters, *(one.parameters for one in read.methods)):
        parameter_names = [one.name for one in parameters]
        if len(set(parameter_names)) < len(parameter_names):
            return False
        names += parameter_names
    return all(_NAME.match(name) for name in names)


def _safe(name: str, language: str) -> str:
    plain = name.strip().removeprefix("...").lstrip("*").removesuffix("?")
    reserved = keyword.iskeyword(plain) if language == "python" else plain in _RESERVED_IN_SCRIPT
    return f"{plain}_" if reserved else plain


def _type(text: str, language: str) -> str:
    """Return the type; none where it is words that the language cannot read, such as `list of str`: no code could declare it."""
    plain = _TYPE_CHARS.sub("", " ".join(text.split())).strip()
    declared = {
        "python": f"def f(x: {plain}) -> {plain}: pass\n",
        "typescript": f"function f(x: {plain}): {plain} {{}}\n",
    }.get(language)
    return "" if declared is not None and outline(declared, language).fault_lines else plain


def _read_parameters(answers: list[Mapping[str, str]], language: str) -> tuple[Parameter, ...]:
    read = [Parameter(_safe(one["name"], language), _type(one["type"], language)) for one in answers]
    return tuple(one for one in read if one.name not in {"self", "this", "cls"})


def _parameters(parameters: tuple[Parameter, ...], *, typed: bool) -> str:
    known = ((one.name, "" if one.type in {"", "unknown"} else f": {one.type}") for one in parameters)
    return ", ".join(f"{name}{kind}" if typed else name for name, kind in known)


def _returns(kind: str, *, typed: bool) -> str:
    return f": {kind}" if typed and kind else ""


def _python(read: Interface) -> str:
    head = _parameters(read.parameters, typed=True)
    if read.shape is Shape.FUNCTION:
        return f"def {read.name}({head}){f' -> {read.returns}' if read.returns else ''}"
    lines = [f"class {read.name}:", f"    def __init__({', '.join(filter(None, ('self', head)))})"]
    for one in read.methods:
        own = ", ".join(filter(None, ("self", _parameters(one.parameters, typed=True))))
        lines.append(f"    def {one.name}({own}){f' -> {one.returns}' if one.returns else ''}")
    return "\n".join(lines)
