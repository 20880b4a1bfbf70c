"""`python -m devstack.lightning`: run both nodes until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from devstack.lightning.sandbox import HomeInUse, Sandbox
from devstack.lightning.servers import PortTaken


def main(arguments: list[str] | None = None) -> int:
    """Run the sandbox; print the ready line once everything listens. Returns 1 when it can't start."""
    options = _parser().parse_args(arguments)
    stopping = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    ports = {name: getattr(options, name.replace("-", "_")) for name in Sandbox.PORT_NAMES}
    try:
        sandbox = Sandbox(options.home, host=options.host, ports=ports)
        ready = sandbox.start()
    except (HomeInUse, PortTaken, OSError) as fault:
        sys.stderr.write(f"sandbox lightning: {fault}\n")
        return 1
    sys.stdout.write(json.dumps(ready) + "\n")
    sys.stdout.flush()
    stopping.wait()
    sandbox.stop()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="devstack.lightning", description="Two sandbox Lightning nodes.")
    parser.add_argument("--home", type=Path, required=True, help="directory for keys, books and ports")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    for name in Sandbox.PORT_NAMES:
        parser.add_argument(f"--{name}", type=int, default=0, help="port; 0 keeps the last one, or picks one")
    return parser


if __name__ == "__main__":
    sys.exit(main())
