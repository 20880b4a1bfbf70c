"""End the children of a supervisor that was killed: `python -m devstack.watchdog ROLL PID`; its standard input is a pipe
that the supervisor (process PID) holds open.

A `kill -9` leaves the supervisor no chance to stop anything, but the kernel closes its end of the pipe. A supervisor that
stops in its own way ends this process first.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from devstack.leftovers import end_leftovers


def main() -> int:
    """Block until the pipe closes, then end whatever the supervisor left running."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    roll, supervisor = Path(sys.argv[1]), int(sys.argv[2])
    while os.read(0, 1024):
        pass
    end_leftovers(roll, of_supervisor=supervisor)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
