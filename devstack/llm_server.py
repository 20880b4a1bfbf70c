"""Serve a GGUF file as an OpenAI-compatible API: `python -m devstack.llm_server --model PATH --port P --alias NAME`.

llama.cpp's own server, in this process. Prints one JSON line `{"ready": true, "port", "base_url"}` once `/health` is 200,
then blocks until SIGTERM or SIGINT. It keeps no state, so stopping it is just ending it. It asks for no
key: it listens on the loopback address only.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

THREADS = 2
SLOTS = 2
CONTEXT_TOKENS = 8192  # shared by the slots: 4096 tokens of prompt and answer each
_LOAD_DEADLINE_S = 120.0


def main() -> int:
    """Load, announce, serve until told to stop. Exit code 1: the model could not be loaded."""
    options = _options()
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    server = _serve(options)
    if not _await_healthy(options.port, stopped):
        return 0 if stopped.is_set() else 1
    ready = {"ready": True, "port": options.port, "base_url": f"http://127.0.0.1:{options.port}/v1"}
    print(json.dumps(ready), flush=True)
    stopped.wait()
    sys.stdout.flush()
    del server
    os._exit(0)  # llama.cpp joins its threads for seconds; there is nothing to save


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="devstack.llm_server")
    parser.add_argument("--model", type=Path, required=True, help="a GGUF file")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--alias", required=True, help="the name clients ask for")
    return parser.parse_args()


def _serve(options: argparse.Namespace) -> object:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(options.model)
    params.model_alias = {options.alias}
    params.hostnames = ["127.0.0.1"]
    params.port = options.port
    params.n_ctx = CONTEXT_TOKENS
    params.n_parallel = SLOTS
    params.cpuparams.n_threads = THREADS
    params.cpuparams_batch.n_threads = THREADS
    params.n_gpu_layers = 0
    params.no_extra_bufts = True  # without it the weights are repacked: twice the memory, a slower start
    params.cache_ram_mib = 256  # llama.cpp would keep old prompts in up to 8 GiB
    params.warmup = False
    params.ui = False
    params.endpoint_slots = False  # it shows other callers' prompts
    return xllamacpp.Server(params)


def _await_healthy(port: int, stopped: threading.Event) -> bool:
    deadline = time.monotonic() + _LOAD_DEADLINE_S
    while time.monotonic() < deadline and not stopped.wait(0.05):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return True
        except OSError:
            continue
        finally:
            connection.close()
    return False


if __name__ == "__main__":
    raise SystemExit(main())
