"""The WebAssembly engine: one configuration for the process that compiles the interpreter and those that run it."""

from __future__ import annotations

import wasmtime

# Deep recursion inside the interpreter's own C code needs more than wasmtime's half a megabyte; above two it wants another setting.
WASM_STACK = 3 << 19
THREAD_STACK = 16 << 20


def engine() -> wasmtime.Engine:
    """Return an engine whose code can be interrupted."""
    config = wasmtime.Config()
    config.epoch_interruption = True
    config.max_wasm_stack = WASM_STACK
    return wasmtime.Engine(config)
