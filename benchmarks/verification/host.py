"""Who answers: a running service, or the embedded stack, started for this alone, with the real local model."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from config.settings import Settings
from devstack.model import cache_folder
from devstack.supervisor import Stack
from shared.access.model import Mode, Scope, Tier
from shared.bootstrap import Role, build

PROCESSES = ("web", "relay", "worker-verification", "worker-tick", "beat")
_KEPT = (
    "PATH",
    "HOME",
    "TMPDIR",
    "LANG",
    "XDG_CACHE_HOME",
    "OPENAI_BASE_URL",
    "OPENAI_API_KEY",
    "EVAL_MODEL",
    "WORK_MODEL",
    "VERIFICATION_MODEL",
    "VERIFICATION_DEADLINE_S",
    "LLM_FIRST_TOKEN_S",
    "LLM_DEADLINE_S",
    "LUCID_MODEL",
    "LUCID_CACHE",
    "SANDBOX_CACHE",
    "SANDBOX_RUNS",
)
"""What of the caller's environment the stack is given: the model, its patience, its caches; never another database."""


@dataclass(frozen=True)
class ModelAddress:
    """The model by itself, for the ways that no pipeline stands behind. Seconds: how long one answer may take."""

    base_url: str
    api_key: str
    name: str
    first_token_s: float
    deadline_s: float


@dataclass(frozen=True)
class Host:
    """A service, a key of its customer, and the model that it asks, where that is known."""

    url: str
    key: str
    model: ModelAddress | None


@contextmanager
def embedded(environment: Mapping[str, str]) -> Iterator[Host]:
    """Start the stack in a folder of its own; stop it and remove the folder at the end. `LUCID_LLM=sim`: without the real model."""
    kept = {name: environment[name] for name in _KEPT if environment.get(name)}
    with tempfile.TemporaryDirectory(prefix="lucid-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # PostgreSQL, which never runs as root, must get through
        is_real = environment.get("LUCID_LLM") != "sim"
        home = Path(folder) / "home"
        with Stack(
            home, kept | {"PORT": "0", "KEY_PER_MINUTE": "6000"}, real_model=is_real, processes=PROCESSES
        ) as stack:
            yield _host(stack)


def remote(url: str, key: str, environment: Mapping[str, str]) -> Host:
    """Return a running service. The model is known where `OPENAI_BASE_URL` and `VERIFICATION_MODEL` or `WORK_MODEL` are set."""
    name = environment.get("VERIFICATION_MODEL") or environment.get("WORK_MODEL")
    base_url = environment.get("OPENAI_BASE_URL")
    if not name or not base_url:
        return Host(url, key, None)
    first_token_s = float(environment.get("LLM_FIRST_TOKEN_S") or 60)
    deadline_s = float(environment.get("LLM_DEADLINE_S") or 180)
    return Host(
        url, key, ModelAddress(base_url, environment.get("OPENAI_API_KEY", ""), name, first_token_s, deadline_s)
    )


def sandbox_cache() -> Path:
    """Return where compiled interpreters are kept, the stack's own among them."""
    return Path(os.environ.get("SANDBOX_CACHE") or cache_folder(os.environ) / "sandbox")


def _host(stack: Stack) -> Host:
    settings = Settings.load(stack.environment)
    container = build(settings, Role.CLI)
    try:
        issued = container.api_keys.create(
            mode=Mode.LIVE, tier=Tier.TEAM, scopes=frozenset({Scope.VERIFICATION}), label="benchmark"
        )
    finally:
        container.database.close()
    model = ModelAddress(
        settings.openai_base_url,
        settings.openai_api_key,
        settings.verification_model or settings.work_model,
        settings.llm_first_token_s,
        settings.llm_deadline_s,
    )
    return Host(str(stack.endpoints["web"]), issued.text, model)
