"""The peer: the LiteLLM proxy, pinned with all that it needs, in an environment of its own beside the other downloads.

It runs as its documentation has it for production, with one key, no database and no callbacks: it keeps nothing.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.gateway.caller import Door
from benchmarks.gateway.prompts import MODEL
from benchmarks.ground import Ground
from benchmarks.program import running_command
from devstack.files import read_json, write_json
from devstack.model import cache_folder, sha256_of

START_S = 240.0
_LOCK = Path(__file__).parent / "litellm.lock"
_INSTALL_S = 900.0
_SAID = "installed.json"
_ENVIRONMENT = {
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "ERROR",
    "LITELLM_TELEMETRY": "False",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it asks the internet at its start
    "NO_PROXY": "127.0.0.1",
}


@contextmanager
def running(ground: Ground, upstream: str, *, port: int, workers: int) -> Iterator[tuple[Door, int]]:
    """Run the proxy on `port` before `upstream`; yield its door and its process id."""
    folder = ground.folder / f"litellm-{workers}"
    folder.mkdir()
    key = f"sk-{secrets.token_hex(24)}"
    write_json(folder / "config.json", _config(upstream))
    environment = {**_kept(), **_ENVIRONMENT, "LITELLM_MASTER_KEY": key}
    command = [str(installed() / "litellm"), "--config", str(folder / "config.json"), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--num_workers", str(workers)]
    with running_command(command, environment, log=folder / "log") as process:
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        yield Door(url, {"Authorization": f"Bearer {key}"}), process.pid


def installed() -> Path:
    """Return the folder of its programs, installing them first if that was never done, or was done for another lock."""
    place = cache_folder(os.environ) / "litellm"
    place.mkdir(parents=True, exist_ok=True)
    environment = place / "environment"
    with (place / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = {"lock": sha256_of(_LOCK), "python": sys.version}
        if read_json(place / _SAID) != wanted:
            _run([sys.executable, "-m", "venv", "--clear", str(environment)])
            pip = str(environment / "bin" / "pip")
            _run([pip, "install", "--quiet", "--no-deps", "--requirement", str(_LOCK)])
            write_json(place / _SAID, wanted)
    return environment / "bin"


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, timeout=_INSTALL_S, stdout=subprocess.DEVNULL)


def _config(upstream: str) -> dict[str, object]:
    model = {"model": f"openai/{MODEL}", "api_base": upstream, "api_key": "none"}
    return {
        "model_list": [{"model_name": MODEL, "litellm_params": model}],
        "litellm_settings": {"telemetry": False, "num_retries": 0, "set_verbose": False},
    }


def _kept() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}


def version() -> str:
    """Return the version that is pinned."""
    lines = _LOCK.read_text(encoding="utf-8").splitlines()
    return next(line.partition("==")[2] for line in lines if line.startswith("litellm=="))
