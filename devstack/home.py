"""One folder, `LUCID_HOME`, that holds all that an embedded stack keeps: one supervisor at a time may use it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from devstack.faults import StackFault
from devstack.files import read_json, write_json


@dataclass(frozen=True)
class Home:
    """The folder's layout."""

    folder: Path

    @property
    def endpoints(self) -> Path:
        """What runs where; there only while the stack is ready."""
        return self.folder / "endpoints.json"

    @property
    def roll(self) -> Path:
        """The processes that were started under this home."""
        return self.folder / "processes.json"

    def log(self, name: str) -> Path:
        """The log of one process."""
        return self.folder / "logs" / f"{name}.log"

    def announcement(self, name: str) -> Path:
        """What one part said of itself at its present start; may hold secrets."""
        return self.folder / f".{name}.ready"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the home, or raise `StackFault` naming who does. The kernel lets go of it whatever ends us."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock_path = self.folder / "lock"
        with lock_path.open("a+", encoding="ascii") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise StackFault(
                    f"another stack (process {lock.read().strip() or 'unknown'}) is using {self.folder}",
                    "stop it first, or give this one a folder of its own with LUCID_HOME=…",
                ) from None
            lock_path.write_text(f"{os.getpid()}\n", encoding="ascii")
            yield


@dataclass(frozen=True)
class Keys:
    """The secrets of one home, made at its first start and kept: without them its receipts and log would be orphans."""

    secret_key: str
    receipt_signing_key: str
    log_signing_key: str
    database_password: str
    redis_password: str
    flower_password: str
    metrics_token: str

    @classmethod
    def of(cls, home: Home) -> Keys:
        """Read the home's keys, making those that are missing. Hex, 32 bytes each; passwords and token 16."""
        path = home.folder / "secrets.json"
        kept = read_json(path)
        fresh = {name: secrets.token_hex(32 if name.endswith("_key") else 16) for name in cls.__dataclass_fields__}
        keys = {name: str(kept.get(name, value)) for name, value in fresh.items()}
        if keys != kept:
            write_json(path, keys)
        return cls(**keys)

    @classmethod
    def kept(cls, home: Home) -> Keys | None:
        """Read the home's keys and make none; None where a start has yet to make them."""
        kept = read_json(home.folder / "secrets.json")
        if not kept.keys() >= cls.__dataclass_fields__.keys():
            return None
        return cls(**{name: str(kept[name]) for name in cls.__dataclass_fields__})


def home_of(environment: Mapping[str, str]) -> Home:
    """Answer the home that `LUCID_HOME` names, `.lucid` in the working directory by default."""
    return Home(Path(environment.get("LUCID_HOME") or ".lucid").expanduser().absolute())
