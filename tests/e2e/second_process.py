"""A second process of a Procfile line, as an operator who scales out would run it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from devstack.parts import ROOT
from devstack.procfile import read_procfile


@contextmanager
def second_process(environment: Mapping[str, str], name: str) -> Iterator[None]:
    """Run it beside the first, with the variables of its stack, and kill it in the end."""
    line = read_procfile(ROOT / "Procfile")[name].replace("@%h", "-too@%h")
    with subprocess.Popen(
        ["/bin/sh", "-c", line],
        env=dict(environment),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            yield
        finally:
            process.kill()
