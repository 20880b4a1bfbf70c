"""Forks a process for each order on stdin, one JSON object a line, and writes its exit code."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import shared.agent.metering
import shared.sandbox.service
import shared.verification.engine
import shared.verification.forward
import shared.verification.reverse  # noqa: F401 - loaded once, for all that are forked
from config.settings import Settings
from shared.access.model import Mode, Principal, Scope, Tier
from shared.bootstrap import Role, build
from shared.kernel import failpoints
from shared.verification.items import Submitted
from tests.integration.verification.near_sandbox import NearSandbox


def main() -> None:
    """Obey until stdin ends."""
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _obey(json.loads(line))
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _obey(order: dict[str, Any]) -> None:
    code = 1
    try:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # stdout is for exit codes
        failpoints.arm(order["failpoints"])
        container = build(Settings.load(order["settings"]), Role.WORKER)
        vars(container)["sandboxes"] = NearSandbox()
        told = order["told"]
        match order["act"]:
            case "create":
                submitted = Submitted(told["code"], "python", None)
                container.verifications.forward(submitted, principal=_principal(told["tenant"]), body=b"{}")
            case "cancel":
                container.verifications.cancel(told["request_id"], principal=_principal(told["tenant"]), wait_s=0)
            case "resume":
                container.verifications.resume(told["request_id"], principal=_principal(told["tenant"]))
            case stage:
                getattr(container.verification_engine, stage)(told["id"])
        code = 0
    except Exception as error:  # noqa: BLE001 - said, and told by the exit code
        print(type(error).__name__, error, file=sys.stderr, flush=True)
    finally:
        os._exit(code)


def _principal(tenant: str) -> Principal:
    return Principal(tenant, Mode.LIVE, frozenset({Scope.VERIFICATION}), Tier.FREE)


if __name__ == "__main__":
    main()
