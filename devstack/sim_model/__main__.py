"""`python -m devstack.sim_model`: one process, one JSON line when it is ready, ended by SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys

from devstack.sim_model.server import SimModel


def main() -> int:
    """Serve until told to stop. Returns the exit code."""
    arguments = argparse.ArgumentParser(prog="devstack.sim_model", description="A simulated OpenAI-compatible model.")
    arguments.add_argument("--host", default="127.0.0.1")
    arguments.add_argument("--port", type=int, required=True, help="0 picks a free one")
    arguments.add_argument("--token-delay", type=float, default=0.0, help="seconds between tokens, for every answer")
    options = arguments.parse_args()
    asyncio.run(_serve(options.host, options.port, options.token_delay))
    return 0


async def _serve(host: str, port: int, token_delay_s: float) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    model = SimModel(token_delay_s=token_delay_s)
    server = await model.listen(host, port)
    bound = server.sockets[0].getsockname()[1]
    sys.stdout.write(json.dumps({"ready": True, "port": bound, "base_url": f"http://{host}:{bound}/v1"}) + "\n")
    sys.stdout.flush()
    await stop.wait()
    server.close()
    await model.close_connections()


if __name__ == "__main__":
    sys.exit(main())
