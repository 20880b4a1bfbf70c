"""Makes what runs share: the interpreter in machine code (`module WASM`), or the harness in its bytecode (`harness COMPILED PARTS…`).

What is made goes out on standard output.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from wasmtime import Module

from shared.sandbox.engine import engine
from shared.sandbox.instances import COMPILE_HARNESS, Clock, Interpreter

_MEMORY_MB = 256


def main() -> None:
    """Make it, write it, leave. Any failure is this process's exit code."""
    what, *paths = sys.argv[1:]
    made = _module(Path(paths[0])) if what == "module" else _harness(paths[0], [Path(path) for path in paths[1:]])
    sys.stdout.buffer.write(made)


def _module(source: Path) -> bytes:
    return bytes(Module(engine(), source.read_bytes()).serialize())


def _harness(interpreter: str, parts: Sequence[Path]) -> bytes:
    """Only the interpreter itself knows its bytecode, so it is asked."""
    harness = "\n".join(_part(path.read_text(encoding="utf-8")) for path in parts)
    made = Interpreter(interpreter, memory_mb=_MEMORY_MB, output_bytes=0, clock=Clock()).run(
        COMPILE_HARNESS, {"harness": "from __future__ import annotations\n" + harness}, probe=0, wall_s=0, cpu_s=0
    )
    if not made.report:
        raise RuntimeError(f"the interpreter does not compile the harness: {made.ending} {made.detail}")
    return made.report


def _part(text: str) -> str:
    """Return a part without what it imports from the other: they become one module."""
    return "\n".join(line for line in text.splitlines() if not line.startswith(("from shared.", "from __future__")))


if __name__ == "__main__":
    main()
