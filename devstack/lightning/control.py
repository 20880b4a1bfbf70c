"""The control plane: the tester's hand in the sandbox. Its calls are told in the package's docstring."""

from __future__ import annotations

import json
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc

from devstack.lightning.faults import Fault, FaultBoard, hash_of
from devstack.lightning.payments import Fees, Payments
from devstack.lightning.records import FailureReason, Payment
from devstack.lightning.refusal import Refused

_MAX_BODY = 1 << 16
_STATUS = {
    grpc.StatusCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS: HTTPStatus.CONFLICT,
}
Action = Callable[[dict[str, Any]], dict[str, Any]]


class Control:
    """What each call does. `set_down` takes a node's ports away or gives them back; `health` describes it all."""

    def __init__(
        self,
        *,
        nodes: frozenset[str],
        faults: FaultBoard,
        payments: Payments,
        fees: Fees,
        set_down: Callable[[str, bool], None],
        health: Callable[[], dict[str, Any]],
    ) -> None:
        self._nodes = nodes
        self._faults = faults
        self._payments = payments
        self._fees = fees
        self._set_down = set_down
        self._health = health

    def actions(self) -> dict[tuple[str, str], Action]:
        """Return the calls by verb and path."""
        return {
            ("GET", "/health"): lambda _body: self._health(),
            ("POST", "/faults"): self._post_fault,
            ("DELETE", "/faults"): self._clear_faults,
            ("POST", "/down"): self._down,
            ("POST", "/fees"): self._set_fees,
            ("POST", "/settle-late"): self._settle_late,
            ("POST", "/overpay"): self._overpay,
            ("POST", "/release"): self._release,
        }

    def _post_fault(self, body: dict[str, Any]) -> dict[str, Any]:
        fault = Fault.parsed(body, nodes=self._nodes)
        self._faults.post(fault)
        return fault.described()

    def _clear_faults(self, _body: dict[str, Any]) -> dict[str, Any]:
        self._faults.clear()
        return {"faults": []}

    def _down(self, body: dict[str, Any]) -> dict[str, Any]:
        node, is_down = body.get("node"), body.get("down", True)
        if node not in self._nodes or not isinstance(is_down, bool):
            raise Refused("node must name a node, down must be true or false")
        self._set_down(str(node), is_down)
        return {"node": node, "down": is_down}

    def _set_fees(self, body: dict[str, Any]) -> dict[str, Any]:
        base_msat, ppm = _whole(body, "base_msat", 0), _whole(body, "ppm", 0)
        self._fees.set(base_msat=base_msat, ppm=ppm)
        return {"base_msat": base_msat, "ppm": ppm}

    def _settle_late(self, body: dict[str, Any]) -> dict[str, Any]:
        payment_hash = hash_of(body.get("payment_hash"))
        return _described(self._payments.settle_late(payment_hash, _whole(body, "amount_msat", 0)))

    def _overpay(self, body: dict[str, Any]) -> dict[str, Any]:
        text = str(body.get("payment_request", ""))
        return _described(self._payments.overpay(text, _whole(body, "amount_msat", 0)))

    def _release(self, body: dict[str, Any]) -> dict[str, Any]:
        outcome = body.get("outcome", "succeed")
        name = str(body.get("reason", "ERROR"))
        if outcome not in ("succeed", "fail") or name not in FailureReason.__members__ or name == "NONE":
            raise Refused("outcome must be succeed or fail, reason one of lnd's failure reasons")
        reason = FailureReason.NONE if outcome == "succeed" else FailureReason[name]
        return _described(self._payments.release(hash_of(body.get("payment_hash")), reason))


class ControlServer(ThreadingHTTPServer):
    """Plain HTTP around `Control`."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], control: Control) -> None:
        self.actions = control.actions()
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60
    server: ControlServer

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Keep quiet: faults are the tester's business."""

    def _serve(self, verb: str) -> None:
        raw = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), _MAX_BODY))
        action = self.server.actions.get((verb, self.path.partition("?")[0]))
        if action is None:
            self._answer(HTTPStatus.NOT_FOUND, {"error": "no such call"})
            return
        try:
            answer = action(_object(raw))
        except Refused as refusal:
            self._answer(_STATUS.get(refusal.code, HTTPStatus.BAD_REQUEST), {"error": refusal.details})
        except ValueError as fault:
            self._answer(HTTPStatus.BAD_REQUEST, {"error": str(fault)})
        else:
            self._answer(HTTPStatus.OK, answer)

    def _answer(self, status: HTTPStatus, value: dict[str, Any]) -> None:
        payload = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)


def _object(raw: bytes) -> dict[str, Any]:
    body = json.loads(raw) if raw.strip() else {}
    if not isinstance(body, dict):
        raise Refused("the body must be a JSON object")
    return body


def _described(payment: Payment) -> dict[str, Any]:
    return {
        "node": payment.node,
        "payment_hash": payment.payment_hash.hex(),
        "preimage": payment.preimage.hex(),
        "status": payment.status.name,
        "failure_reason": payment.failure_reason.name,
        "amt_paid_msat": payment.value_msat,
        "fee_msat": payment.fee_msat,
    }


def _whole(body: dict[str, Any], name: str, default: int) -> int:
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise Refused(f"{name} must be a whole number")
    return value
