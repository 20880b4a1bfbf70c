"""The commands of the parts that are programs of ours: Lightning nodes, witness, model servers, watchdog, Procfile lines."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devstack.home import Home
from devstack.ports import Ports
from devstack.process import Command
from shared.kernel.signing import SigningKey
from shared.merkle.checkpoint import log_key

ROOT = Path(__file__).resolve().parent.parent
_LIGHTNING_PORTS = ("lnd-grpc", "lnd-rest", "wallet-grpc", "wallet-rest", "control")


@dataclass(frozen=True)
class Parts:
    """Builds the commands for one home. `environment` is what each of these programs gets."""

    home: Home
    ports: Ports
    environment: Mapping[str, str]

    def lightning(self) -> Command:
        """Both sandbox nodes, merchant and customer."""
        ports = [word for name in _LIGHTNING_PORTS for word in (f"--{name}", self._port(f"lightning-{name}"))]
        return self._python(
            "lightning", "devstack.lightning", "--home", self._folder("lightning"), "--host", "127.0.0.1", *ports
        )

    def witness(self, *, origin: str, log_signing_key: str) -> Command:
        """The witness, told which log it may cosign. `log_signing_key` is the seed in hex."""
        public = SigningKey.from_seed(bytes.fromhex(log_signing_key)).public_bytes
        log = ("--log-origin", origin, "--log-key", log_key(origin, public).encode())
        state = ("--home", self._folder("witness"), "--port", self._port("witness"))
        return self._python("witness", "devstack.witness", *state, *log)

    def sim_model(self) -> Command:
        """The simulated model."""
        return self._python("sim-model", "devstack.sim_model", "--port", self._port("sim-model"))

    def model(self, *, path: Path, alias: str) -> Command:
        """The real model's server."""
        arguments = ("--model", str(path), "--port", self._port("model"), "--alias", alias)
        return self._python("model", "devstack.llm_server", *arguments)

    def watchdog(self, *, stdin: int) -> Command:
        """The process that ends all others if this one is killed; `stdin` reads the supervisor's pipe."""
        return Command(
            name="watchdog",
            arguments=(sys.executable, "-m", "devstack.watchdog", str(self.home.roll), str(os.getpid())),
            environment=self.environment,
            log=self.home.log("watchdog"),
            folder=ROOT,
            stdin=stdin,
        )

    def procfile_line(self, name: str, line: str, environment: Mapping[str, str]) -> Command:
        """A line of the Procfile, run by the shell from the checkout."""
        return Command(
            name=name, arguments=("/bin/sh", "-c", line), environment=environment, log=self.home.log(name), folder=ROOT
        )

    def _python(self, name: str, module: str, *arguments: str, **more: str) -> Command:
        return Command(
            name=name,
            arguments=(sys.executable, "-m", module, *arguments),
            environment=dict(self.environment) | more,
            log=self.home.log(name),
            folder=ROOT,
            said=self.home.announcement(name),
        )

    def _port(self, name: str) -> str:
        return str(self.ports.of(name))

    def _folder(self, name: str) -> str:
        folder = self.home.folder / name
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return str(folder)
