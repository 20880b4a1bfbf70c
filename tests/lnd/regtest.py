"""Two real lnd nodes on regtest with a channel between them, over one btcd that is miner and backend.

Made for lnd 0.19 and later and btcd 0.24 and later, by their documented options. Nothing here patches or simulates a node.
"""

from __future__ import annotations

import base64
import os
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from devstack.ports import Ports
from tests.e2e.patience import eventually

BINARIES = ("lnd", "btcd")
CHANNEL_SATS = 1_000_000
PUSHED_SATS = 500_000
_BLOCKS = 400  # two confirmation windows activate segwit and CSV; a coinbase matures after 100
_PATIENCE_S = 120.0
_USER = "regtest"
_PASSWORD = "regtest"
_FAST = (
    "--bitcoin.defaultchanconfs=1",
    "--bitcoin.defaultremotedelay=4",
    "--trickledelay=50",
    "--gossip.sub-batch-delay=5ms",
    "--db.batch-commit-interval=10ms",
    "--debuglevel=info",
)


def missing_binaries() -> list[str]:
    """Return which programs are not on PATH."""
    return [name for name in BINARIES if shutil.which(name) is None]


class LndRest:
    """One lnd over its REST API. `macaroon` is the admin's, hex; `tls_cert` a path."""

    def __init__(self, *, grpc: str, rest: str, tls_cert: str, macaroon: str) -> None:
        self.grpc = grpc
        self.rest = rest
        self.tls_cert = tls_cert
        self.macaroon = macaroon
        self._http = httpx.Client(
            base_url=rest,
            verify=ssl.create_default_context(cafile=tls_cert),
            headers={"Grpc-Metadata-macaroon": macaroon},
            timeout=30,
            limits=httpx.Limits(max_keepalive_connections=0),  # the node may be restarted between two calls
            trust_env=False,
        )

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def get(self, path: str, **parameters: str) -> dict[str, Any]:
        """GET a path; raise where the node says no."""
        answer = self._http.get(path, params=parameters)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        """POST a body; raise where the node says no."""
        answer = self._http.post(path, json=body)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def described(self) -> dict[str, Any]:
        """Return what `cli.sandbox.Wallet` needs."""
        return {"grpc": self.grpc, "rest": self.rest, "tls_cert": self.tls_cert, "macaroon": self.macaroon}

    def bake(self, *paths: str) -> str:
        """Return a macaroon, hex, for just these gRPC methods."""
        permissions = [{"entity": "uri", "action": path} for path in paths]
        return str(self.post("/v1/macaroon", permissions=permissions)["macaroon"])

    def hold_invoice(self, sats: int, preimage_hash: bytes) -> str:
        """Ask for `sats` and keep the HTLC until it is settled or cancelled."""
        asked = {"hash": base64.b64encode(preimage_hash).decode(), "value": str(sats), "expiry": "3600"}
        return str(self.post("/v2/invoices/hodl", **asked)["payment_request"])

    def settle(self, preimage: bytes) -> None:
        """Take the HTLC of a hold invoice."""
        self.post("/v2/invoices/settle", preimage=base64.b64encode(preimage).decode())

    def cancel(self, payment_hash: bytes) -> None:
        """Make an invoice unpayable; an HTLC that it holds goes back."""
        self.post("/v2/invoices/cancel", payment_hash=base64.b64encode(payment_hash).decode())

    def is_synced(self) -> bool:
        """Tell whether the node answers and knows the whole chain."""
        try:
            return bool(self.get("/v1/getinfo")["synced_to_chain"])
        except (httpx.HTTPError, OSError):
            return False


@dataclass
class Nodes:
    """The merchant's node and its customer's. `process` runs the merchant's; None where the nodes are not ours."""

    merchant: LndRest
    customer: LndRest
    process: LndProcess | None = None


class Btcd:
    """The chain. Blocks come when they are asked for."""

    def __init__(self, home: Path, ports: Ports) -> None:
        self.home = home
        self.rpc_port = ports.of("btcd-rpc")
        self._p2p_port = ports.of("btcd")
        self._process: subprocess.Popen[bytes] | None = None
        self.cert = home / "rpc.cert"

    def start(self, *, mining_address: str | None = None) -> None:
        """Run it, paying blocks to `mining_address`, and wait until its RPC answers."""
        self.home.mkdir(parents=True, exist_ok=True)
        options = [
            "--regtest",
            "--txindex",
            "--rejectnonstd",
            "--nobanning",
            "--nostalldetect",
            f"--rpcuser={_USER}",
            f"--rpcpass={_PASSWORD}",
            f"--rpclisten=127.0.0.1:{self.rpc_port}",
            f"--listen=127.0.0.1:{self._p2p_port}",
            "--rpcmaxwebsockets=50",
            f"--rpccert={self.cert}",
            f"--rpckey={self.home / 'rpc.key'}",
            f"--datadir={self.home / 'data'}",
            f"--logdir={self.home / 'logs'}",
            f"--configfile={self.home / 'btcd.conf'}",
            *([f"--miningaddr={mining_address}"] if mining_address else []),
        ]
        (self.home / "btcd.conf").touch()
        self._process = _run("btcd", options, self.home / "btcd.out")
        eventually(self._answers, what="a btcd that answers", within_s=_PATIENCE_S)

    def stop(self) -> None:
        """End it."""
        _end(self._process)

    def mine(self, blocks: int) -> None:
        """Find blocks."""
        self._call("generate", blocks)

    def _answers(self) -> bool:
        try:
            self._call("getblockcount")
        except (httpx.HTTPError, OSError):
            return False
        return True

    def _call(self, method: str, *parameters: Any) -> Any:
        trust = ssl.create_default_context(cafile=str(self.cert))
        trust.check_hostname = False  # its certificate names the machine, and is the only one that we trust
        body = {"jsonrpc": "1.0", "id": 1, "method": method, "params": list(parameters)}
        with httpx.Client(verify=trust, auth=(_USER, _PASSWORD), timeout=120, trust_env=False) as http:
            answer = http.post(f"https://127.0.0.1:{self.rpc_port}", json=body)
        answer.raise_for_status()
        return answer.json()["result"]


class LndProcess:
    """One lnd. `stop` and `start` again keep its home, its keys and its ports."""

    def __init__(self, name: str, home: Path, ports: Ports, btcd: Btcd) -> None:
        self.name = name
        self.home = home
        self._btcd = btcd
        self.p2p = f"127.0.0.1:{ports.of(f'{name}-p2p')}"
        self._grpc = f"127.0.0.1:{ports.of(f'{name}-grpc')}"
        self._rest = f"127.0.0.1:{ports.of(f'{name}-rest')}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> LndRest:
        """Run it and return its REST side once the wallet is open."""
        self.home.mkdir(parents=True, exist_ok=True)
        options = [
            f"--lnddir={self.home}",
            "--bitcoin.regtest",
            "--bitcoin.node=btcd",
            f"--btcd.rpchost=127.0.0.1:{self._btcd.rpc_port}",
            f"--btcd.rpcuser={_USER}",
            f"--btcd.rpcpass={_PASSWORD}",
            f"--btcd.rpccert={self._btcd.cert}",
            "--noseedbackup",
            "--nobootstrap",
            f"--listen={self.p2p}",
            f"--rpclisten={self._grpc}",
            f"--restlisten={self._rest}",
            *_FAST,
        ]
        self._process = _run("lnd", options, self.home / "lnd.out")
        macaroon = self.home / "data" / "chain" / "bitcoin" / "regtest" / "admin.macaroon"
        eventually(macaroon.exists, what=f"the macaroon of {self.name}", within_s=_PATIENCE_S)
        node = LndRest(
            grpc=self._grpc,
            rest=f"https://{self._rest}",
            tls_cert=str(self.home / "tls.cert"),
            macaroon=macaroon.read_bytes().hex(),
        )
        eventually(lambda: _answers(node), what=f"{self.name} that answers", within_s=_PATIENCE_S)
        return node

    def stop(self) -> None:
        """End it in good order."""
        _end(self._process)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)


@contextmanager
def running_nodes(home: Path) -> Iterator[Nodes]:
    """Run btcd and two lnds, open a channel with half of it on each side, and stop them all at the end."""
    ports = Ports(home / "ports.json")
    btcd = Btcd(home / "btcd", ports)
    with ExitStack() as opened:
        btcd.start()
        opened.callback(btcd.stop)
        btcd.mine(1)  # lnd takes a chain whose tip is old for one that it has not caught up with
        processes = [LndProcess(name, home / name, ports, btcd) for name in ("merchant", "customer")]
        nodes = []
        for process in processes:
            nodes.append(process.start())
            opened.callback(process.stop)
            opened.callback(nodes[-1].close)
        merchant, customer = nodes
        address = merchant.get("/v1/newaddress", type="0")["address"]
        btcd.stop()
        btcd.start(mining_address=address)
        btcd.mine(_BLOCKS)
        for node in nodes:
            eventually(node.is_synced, what="a node that is synced", within_s=_PATIENCE_S)
        _open_channel(merchant, customer, at=processes[1].p2p, btcd=btcd)
        yield Nodes(merchant, customer, processes[0])


def _open_channel(payer: LndRest, payee: LndRest, *, at: str, btcd: Btcd) -> None:
    pubkey = payee.get("/v1/getinfo")["identity_pubkey"]
    payer.post("/v1/peers", addr={"pubkey": pubkey, "host": at}, perm=True)
    payer.post(
        "/v1/channels",
        node_pubkey=base64.b64encode(bytes.fromhex(pubkey)).decode(),
        local_funding_amount=str(CHANNEL_SATS),
        push_sat=str(PUSHED_SATS),
    )
    btcd.mine(6)
    for node in (payer, payee):
        eventually(lambda node=node: _is_open(node), what="a channel that is active", within_s=_PATIENCE_S)


def _is_open(node: LndRest) -> bool:
    return bool(node.get("/v1/channels", active_only="true")["channels"])


def _answers(node: LndRest) -> bool:
    try:
        node.get("/v1/getinfo")
    except (httpx.HTTPError, OSError):
        return False
    return True


def _run(program: str, options: list[str], out: Path) -> subprocess.Popen[bytes]:
    with out.open("ab") as log:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        return subprocess.Popen([program, *options], stdout=log, stderr=log, env=kept)


def _end(process: subprocess.Popen[bytes] | None) -> None:
    if process is None or process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(30)
