"""The sandbox put together: books, nodes, ports, control plane, expiry watch."""

from __future__ import annotations

import fcntl
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from devstack.lightning.control import Control, ControlServer
from devstack.lightning.database import ROUTERS, Database
from devstack.lightning.dispatch import Node
from devstack.lightning.faults import FaultBoard
from devstack.lightning.hub import Hub
from devstack.lightning.identity import Identity, load_identity
from devstack.lightning.invoices import Invoices
from devstack.lightning.payments import Fees, Payments
from devstack.lightning.ports import choose_ports
from devstack.lightning.servers import NodeServers

MERCHANT = "lnd"
CUSTOMER = "wallet"
NAMES = (MERCHANT, CUSTOMER)
_EXPIRY_STEP_S = 0.2


class HomeInUse(Exception):
    """Another sandbox runs on this directory."""


class Sandbox:
    """Two nodes on one home directory. `ports` has a wanted port, or 0, for each of `PORT_NAMES`."""

    PORT_NAMES = ("lnd-grpc", "lnd-rest", "wallet-grpc", "wallet-rest", "control")

    def __init__(self, home: Path, *, host: str, ports: Mapping[str, int]) -> None:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._home = home
        self._lock_file = _locked(home / "lock")
        self._ready_file = home / "ready.json"
        self._ready_file.unlink(missing_ok=True)
        self._host = host
        self._ports = choose_ports(home / "ports.json", host=host, wanted=ports)
        self._hub = Hub()
        self._database = Database(home / "lightning.sqlite3", on_commit=self._hub.publish)
        self._faults = FaultBoard(self._hub.wake)
        self._identities = {name: load_identity(self._database, name, home=home, host=host) for name in NAMES}
        self._invoices = Invoices(self._database, self._hub)
        self._payments = Payments(
            self._database, {identity.pubkey: name for name, identity in self._identities.items()}
        )
        self._servers = {name: self._servers_of(identity) for name, identity in self._identities.items()}
        self._control = ControlServer((host, self._ports["control"]), self._control_calls())
        self._stopping = threading.Event()
        self._watch = threading.Thread(target=self._watch_expiry, daemon=True)

    def start(self) -> dict[str, Any]:
        """Listen everywhere, write `ready.json`, and return what it says. Raises `PortTaken`."""
        for servers in self._servers.values():
            servers.start()
        self._watch.start()
        threading.Thread(target=self._control.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        ready = self._ready()
        draft = self._ready_file.with_suffix(".draft")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(ready, indent=2))
        draft.replace(self._ready_file)
        return ready

    def stop(self) -> None:
        """Close every port and the books."""
        self._ready_file.unlink(missing_ok=True)
        self._stopping.set()
        self._control.shutdown()
        self._control.server_close()
        for servers in self._servers.values():
            servers.stop()
        self._watch.join()
        self._database.close()
        self._lock_file.close()

    def _ready(self) -> dict[str, Any]:
        nodes = {
            name: {
                "grpc": self._servers[name].grpc_target,
                "rest": self._servers[name].rest_url,
                "tls_cert": str(identity.tls_cert.resolve()),
                "pubkey": identity.pubkey,
                **identity.macaroons,
            }
            for name, identity in self._identities.items()
        }
        return {"ready": True, **nodes, "control": f"http://{self._host}:{self._ports['control']}"}

    def _servers_of(self, identity: Identity) -> NodeServers:
        node = Node(
            identity=identity,
            peer=next(name for name in NAMES if name != identity.name),
            invoices=self._invoices,
            payments=self._payments,
            faults=self._faults,
            hub=self._hub,
            balance_msat=self._balance_msat,
            held_msat=self._held_msat,
        )
        return NodeServers(
            node,
            host=self._host,
            grpc_port=self._ports[f"{identity.name}-grpc"],
            rest_port=self._ports[f"{identity.name}-rest"],
        )

    def _control_calls(self) -> Control:
        return Control(
            nodes=frozenset(NAMES),
            faults=self._faults,
            payments=self._payments,
            fees=Fees(self._database),
            set_down=self._set_down,
            health=self._health,
        )

    def _set_down(self, name: str, is_down: bool) -> None:
        servers = self._servers[name]
        if is_down:
            servers.stop()
        else:
            servers.start()

    def _health(self) -> dict[str, Any]:
        with self._database.reading():
            nodes = {
                name: {
                    "down": self._servers[name].is_down,
                    "balance_msat": self._balance_msat(name),
                    "held_msat": self._held_msat(name),
                }
                for name in NAMES
            }
            routed_msat = self._balance_msat(ROUTERS)
        total_msat = routed_msat + sum(node["balance_msat"] + node["held_msat"] for node in nodes.values())
        return {
            "ok": True,
            "nodes": nodes,
            "routed_msat": routed_msat,
            "total_msat": total_msat,
            "faults": self._faults.described(),
        }

    def _balance_msat(self, name: str) -> int:
        with self._database.reading() as books:
            return books.number("SELECT balance_msat FROM accounts WHERE name = ?", name)

    def _held_msat(self, name: str) -> int:
        with self._database.reading() as books:
            return books.number("SELECT sum(held_msat) FROM payments WHERE node = ?", name)

    def _watch_expiry(self) -> None:
        while not self._stopping.wait(_EXPIRY_STEP_S):
            self._invoices.cancel_expired()


def _locked(path: Path) -> Any:
    """Return the open lock file; the system lets go of it however the process ends."""
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise HomeInUse(f"another sandbox runs on {path.parent}") from None
    return file
