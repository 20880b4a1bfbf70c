"""What stands under the application: stores, Lightning nodes, witness and models, each started only if nobody configured one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devstack import machine, model
from devstack.crew import Crew, Role
from devstack.home import Home, Keys
from devstack.parts import Parts
from devstack.plan import LOG_ORIGIN, SIM_MODEL, Plan, lightning_settings, model_settings
from devstack.ports import Ports
from devstack.postgres import Postgres
from devstack.process import Process
from devstack.readiness import await_all
from devstack.valkey import Valkey

STORE_START_S = 30.0
PART_START_S = 60.0
MODEL_START_S = 120.0


@dataclass
class Foundation:
    """Starts the parts of `plan` through `crew`; `settings` are what the application is told of them."""

    plan: Plan
    home: Home
    keys: Keys
    ports: Ports
    user: Mapping[str, str]
    on_event: Callable[[str], None]
    settings: dict[str, str] = field(default_factory=dict)
    lightning: dict[str, Any] | None = None
    _checks: dict[Process, Callable[[], bool]] = field(default_factory=dict)
    _model: Process | None = None

    def fetch_model(self) -> Path | None:
        """Answer the real model's file, downloading it at the first start; None if this start runs without it."""
        if not self.plan.model:
            return None
        machine.require_avx2()
        return model.fetch(model.chosen_model(self.user), model.cache_folder(self.user), on_event=self.on_event)

    def start(self, crew: Crew, parts: Parts, *, model_file: Path | None) -> None:
        """Start the parts; return when stores, nodes and witness are ready. The model goes on loading meanwhile."""
        self._start_stores(crew)
        self._start_models(crew, parts, model_file)
        if self.plan.lightning:
            self._start_talking(crew.start(parts.lightning(), Role.PART))
        if self.plan.witness:
            origin = self.user.get("LOG_ORIGIN") or LOG_ORIGIN
            seed = self.user.get("LOG_SIGNING_KEY") or self.keys.log_signing_key
            self._start_talking(crew.start(parts.witness(origin=origin, log_signing_key=seed), Role.PART))
        await_all(self._checks, timeout_s=PART_START_S)
        self._learn(crew)

    def await_model(self) -> None:
        """Return when the real model has loaded."""
        if self._model is not None:
            loaded = self._model
            await_all({loaded: lambda: loaded.ready_line() is not None}, timeout_s=MODEL_START_S)

    def _start_stores(self, crew: Crew) -> None:
        checks: dict[Process, Callable[[], bool]] = {}
        if self.plan.valkey:
            valkey = Valkey(
                self.home.folder / "valkey", self.ports.of("valkey"), self.keys.redis_password, self.home.log("valkey")
            )
            checks[crew.start(valkey.prepare(), Role.STORE)] = valkey.is_healthy
            self.settings["REDIS_URL"] = valkey.url
        if self.plan.postgres:
            folder = self.home.folder / "postgres"
            if not folder.exists():
                self.on_event("database: creating it")
            postgres = Postgres(
                folder, self.ports.of("postgres"), self.keys.database_password, self.home.log("postgres")
            )
            checks[crew.start(postgres.prepare(), Role.STORE)] = postgres.is_healthy
            self.settings["DATABASE_URL"] = postgres.url
        await_all(checks, timeout_s=STORE_START_S)

    def _start_models(self, crew: Crew, parts: Parts, model_file: Path | None) -> None:
        if self.plan.sim_model:
            self._start_talking(crew.start(parts.sim_model(), Role.PART))
            self.settings["SIM_OPENAI_BASE_URL"] = f"http://127.0.0.1:{self.ports.of('sim-model')}/v1"
        if model_file is not None:
            alias = model.chosen_model(self.user).alias
            self._model = crew.start(parts.model(path=model_file, alias=alias), Role.PART)
            base_url = f"http://127.0.0.1:{self.ports.of('model')}/v1"
            self.settings |= model_settings(base_url, name=alias)
        elif not self.user.get("OPENAI_BASE_URL"):
            simulated = self.user.get("SIM_OPENAI_BASE_URL") or self.settings.get("SIM_OPENAI_BASE_URL", "")
            self.settings |= model_settings(simulated, name=SIM_MODEL)

    def _start_talking(self, process: Process) -> None:
        self._checks[process] = lambda: process.ready_line() is not None

    def _learn(self, crew: Crew) -> None:
        """Take what only the parts themselves know: certificates, macaroons, the witness's key."""
        if self.plan.lightning:
            self.lightning = crew.members["lightning"].ready_line()
            if self.lightning is not None:
                self.settings |= lightning_settings(self.lightning["lnd"])
        if self.plan.witness:
            said = crew.members["witness"].ready_line() or {}
            self.settings["WITNESS_URL"] = f"http://127.0.0.1:{said['port']}"
            self.settings["WITNESS_KEY"] = said["vkey"]
