"""The real local model behind its own server, for the tests that need one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from devstack.home import Home
from devstack.model import LocalModel
from devstack.ports import Ports


class LocalServer:
    """Serves one model from the cache until it is stopped."""

    def __init__(self, model: LocalModel, cache: Path, *, home: Home) -> None:
        port = Ports(home.folder / "ports.json").of("llm")
        command = [sys.executable, "-m", "devstack.llm_server", "--alias", model.alias]
        self._process = subprocess.Popen(
            [*command, "--model", str(cache / model.file_name), "--port", str(port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        self.base_url = str(json.loads(self._process.stdout.readline())["base_url"])

    def stop(self) -> None:
        """End the server."""
        self._process.terminate()
        self._process.wait(30)
        if self._process.stdout is not None:
            self._process.stdout.close()
