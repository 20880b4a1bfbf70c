"""A thousand runs over all languages: no process is left, no memory is kept. A short one always, the whole under LUCID_SOAK."""

from __future__ import annotations

import os
from pathlib import Path

from shared.sandbox.model import Language, Limits, Outcome, Probe
from shared.sandbox.service import Sandboxes
from tests.processes import children_of

RUNS = 1000 if os.environ.get("LUCID_SOAK") else 12
WARM_UP = RUNS // 4
MOST_GROWTH_KB = 16 * 1024
TIGHT = Limits(wall_s=2.0, cpu_s=1, memory_mb=128, run_s=20)
JAVASCRIPT = (
    "export function f(x) { if (x === 3) { for (;;); } if (x === 4) { throw new Error('odd'); }\n"
    "return Array(x * 1000).fill(x).length; }"
)
PYTHON = "def f(x):\n    if x == 3:\n        while True: pass\n    if x == 4: raise ValueError('odd')\n    return len([x] * (x * 1000))\n"
PROGRAMS = {Language.PYTHON: PYTHON, Language.JAVASCRIPT: JAVASCRIPT, Language.TYPESCRIPT: JAVASCRIPT}
ENDS = [Outcome.RETURNED, Outcome.RETURNED, Outcome.RETURNED, Outcome.TIMED_OUT, Outcome.RAISED]


def resident_kb() -> int:
    """Return this process's resident memory."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


def test_run_after_run_leaves_no_process_and_keeps_no_memory(sandboxes: Sandboxes) -> None:
    before = children_of(os.getpid())
    settled = 0
    for turn in range(RUNS):
        language = list(PROGRAMS)[turn % 3]
        argument = 3 if turn % 40 == 3 else (turn // 3) % 3 if turn % 10 else 4
        [found] = sandboxes.run(language, PROGRAMS[language], [Probe(f"f({argument})")], limits=TIGHT).observations
        assert found.outcome is ENDS[argument], (turn, language, found)
        assert children_of(os.getpid()) <= before
        if turn == WARM_UP:
            settled = resident_kb()
    assert resident_kb() - settled < MOST_GROWTH_KB
