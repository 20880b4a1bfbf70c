"""The programs that the simulated model can write, right and defective."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum


class Program(StrEnum):
    """What is written; the value is the name it gets where the task gives none."""

    ADD = "add"
    ECHO = "echo"
    LIMITER = "SlidingWindowRateLimiter"

    @property
    def parameters(self) -> tuple[str, ...]:
        """The parameters it gets where the task gives none."""
        return {"add": ("a", "b"), "echo": ("value",)}.get(self.value, ("limit", "window"))


_FUNCTIONS = {
    "python": ("def {name}({plain}):\n    return {value}\n", "{}"),
    "javascript": ("function {name}({plain}) {{\n  return {value};\n}}\n", "{}"),
    "typescript": ("function {name}({plain}) {{\n  return {value};\n}}\n", "{}: any"),
    "go": ("package main\n\nfunc {name}({plain}) int {{\n\treturn {value}\n}}\n", "{} int"),
    "java": ("class Main {{\n  static int {name}({plain}) {{\n    return {value};\n  }}\n}}\n", "int {}"),
    "rust": ("fn {name}({plain}) -> i64 {{\n    {value}\n}}\n", "{}: i64"),
    "c": ("int {name}({plain}) {{\n  return {value};\n}}\n", "int {}"),
    "cpp": ("int {name}({plain}) {{\n  return {value};\n}}\n", "int {}"),
    "ruby": ("def {name}({plain})\n  {value}\nend\n", "{}"),
}
_LIMITER_PYTHON = """class {name}:
    def __init__(self, limit, window):
        self.limit = limit
        self.window = window
        self.calls = []

    def allow(self, now):
        self.calls = [at for at in self.calls if at > now - self.window]
        if len(self.calls) {sign} self.limit:
            self.calls.append(now)
            return True
        return False
"""
_LIMITER_SCRIPT = """class {name} {{
  constructor(limit, window) {{
    this.limit = limit;
    this.window = window;
    this.calls = [];
  }}
  allow(now) {{
    this.calls = this.calls.filter((at) => at > now - this.window);
    if (this.calls.length {sign} this.limit) {{
      this.calls.push(now);
      return true;
    }}
    return false;
  }}
}}
"""
_LIMITER_TYPED = (
    _LIMITER_SCRIPT.replace("constructor(limit, window)", "constructor(limit: number, window: number)")
    .replace("allow(now)", "allow(now: number): boolean")
    .replace("class {name} {{\n", "class {name} {{\n  limit: number;\n  window: number;\n  calls: number[];\n")
)


def written(program: Program, language: str, name: str, parameters: Sequence[str], *, defect: bool) -> str:
    """Return the program's text. With `defect` it does what a hurried author would have it do."""
    if program is Program.LIMITER:
        template = {"python": _LIMITER_PYTHON, "typescript": _LIMITER_TYPED}.get(language, _LIMITER_SCRIPT)
        return template.format(name=name, sign="<=" if defect else "<")
    template, parameter = _FUNCTIONS.get(language, ("{name}({plain}) = {value}\n", "{}"))
    plain = ", ".join(parameter.format(one) for one in parameters)
    return template.format(name=name, plain=plain, value=_value(program, parameters, defect=defect))


def _value(program: Program, parameters: Sequence[str], *, defect: bool) -> str:
    if program is Program.ADD and len(parameters) == 2:
        return f"{parameters[0]} {'-' if defect else '+'} {parameters[1]}"
    first = parameters[0] if parameters else "0"
    return f"{first} + 1" if defect else first
