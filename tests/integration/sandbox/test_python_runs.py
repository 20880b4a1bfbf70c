"""Python in the sandbox: what a probe sees, how values are compared, what one probe cannot do to another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from shared.sandbox.model import Language, Limits, Observation, Outcome, Probe, SandboxUnavailable
from shared.sandbox.python import PythonRunner
from shared.sandbox.service import Sandboxes
from tests.processes import children_of

ROOT = Path(__file__).resolve().parents[3]
ECHO = "def f(x):\n    return x\n"
SHAPES = """
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from dataclasses import dataclass
from enum import Enum
Point = namedtuple("Point", "x y")
@dataclass
class Card:
    rank: int
    suit: str = "clubs"
class Plain:
    def __init__(self): self.kept = [1]
class Colour(Enum):
    RED = 1
def squares(n):
    for i in range(n): yield i * i
"""


def seen(sandboxes: Sandboxes, code: str, *probes: Probe, limits: Limits | None = None) -> tuple[Observation, ...]:
    return sandboxes.run(Language.PYTHON, code, probes, limits=limits).observations


@pytest.fixture(scope="module")
def echoes(sandboxes: Sandboxes) -> dict[tuple[str, str], Observation]:
    """Every pair below, compared in one run."""
    pairs = [pair[:2] for pair in COMPARISONS]
    ran = seen(
        sandboxes, ECHO, *(Probe(f"f({actual})", expected) for actual, expected in pairs), limits=Limits(run_s=120)
    )
    return dict(zip(pairs, ran, strict=True))


COMPARISONS = [
    ("1", "1", True, True),
    ("1", "2", False, False),
    ("1", "1.0", False, True),
    ("True", "1", False, False),
    ("0.1 + 0.2", "0.3", True, True),
    ("0.0", "6.626e-34", False, False),
    ("6.626e-34 * (1 + 1e-12)", "6.626e-34", True, True),
    ("1e-12", "0.0", True, True),
    ("1e12 + 100", "1e12", False, False),
    ("1e18 + 100", "1e18", True, True),
    ("1e300 * 10", "1e301", True, True),
    ("1.001", "1.0", False, False),
    ("float('nan')", "math.nan", True, True),
    ("-0.0", "0.0", True, True),
    ("[1, 2]", "(1, 2)", False, True),
    ("[1, [2.0]]", "[1, [2.0 + 1e-12]]", True, True),
    ("[1, 2]", "[2, 1]", False, False),
    ("{'a': 1, 'b': [2]}", "{'b': [2], 'a': 1}", True, True),
    ("{'a': 1}", "{'a': 1, 'b': 2}", False, False),
    ("{1: 'x'}", "{1.0: 'x'}", False, True),
    ("{3, 1, 2}", "{1, 2, 3}", True, True),
    ("{0.1 + 0.2}", "{0.3}", True, True),
    ("frozenset({1})", "{1}", False, True),
    ("None", "0", False, False),
    ("'a'", "b'a'", False, False),
    ("'\\ud800'", "'\\ud800'", True, True),
    ("10 ** 3000", "10 ** 3000", True, True),
    ("10 ** 3000", "10 ** 3000 + 1", False, False),
    ("Decimal('1.10')", "Decimal('1.1')", True, True),
    ("Decimal('1.1')", "1.1", False, True),
    ("Fraction(1, 3)", "1 / 3", False, True),
    ("1j", "0 + 1j", True, True),
    ("range(3)", "[0, 1, 2]", False, True),
    ("date(2024, 2, 29)", "date(2024, 2, 29)", True, True),
    ("(x for x in 'ab')", "['a', 'b']", False, True),
    ("Decimal('1E+99999999')", "1", False, False),
]  # fmt: skip


@pytest.mark.parametrize(("actual", "expected", "matches", "alike"), COMPARISONS)
def test_values_are_compared_by_type_and_content(
    echoes: dict[tuple[str, str], Observation], actual: str, expected: str, matches: bool, alike: bool
) -> None:
    found = echoes[actual, expected]
    assert (found.outcome, found.matches, found.alike) == (Outcome.RETURNED, matches, alike), found


OWN_EQUALITY = [
    ("2.0", "2", True), ("1", "True", True), ("True", "1.0", True), ("0", "False", True), ("2", "True", False),
    ("Counter('aab')", "{'a': 2, 'b': 1}", True), ("[{'a': 1.0}]", "[{'a': True}]", True), ("{1.0: 'x'}", "{True: 'x'}", True),
    ("frozenset({1})", "{1.0}", True), ("[1, 2]", "(1, 2)", False), ("range(2)", "[0, 1]", False), ("iter([1])", "[1]", False),
    ("Decimal('1.1')", "1.1", False), ("Decimal('0.5')", "0.5", True), ("Fraction(1, 2)", "0.5", True), ("None", "0", False),
    ("Decimal('inf')", "1.5", False), ("'1'", "1", False), ("0.1 + 0.2", "0.3", True), ("0.0", "6.626e-34", False),
]  # fmt: skip


def test_what_pythons_own_equality_says_is_known(sandboxes: Sandboxes) -> None:
    probes = [Probe(f"f({actual})", expected) for actual, expected, _ in OWN_EQUALITY]
    found = seen(sandboxes, ECHO, *probes, limits=Limits(run_s=120))
    known = [(actual, expected, run.is_equal) for (actual, expected, _), run in zip(OWN_EQUALITY, found, strict=True)]
    assert known == OWN_EQUALITY


def test_values_are_shown_in_pythons_notation(sandboxes: Sandboxes) -> None:
    calls = {
        "Point(1, 2)": "Point((1, 2))",
        "Card(3)": "Card(rank=3, suit='clubs')",
        "Plain()": "Plain(kept=[1])",
        "Colour.RED": "<Colour.RED: 1>",
        "Counter('aab')": "Counter({'a': 2, 'b': 1})",
        "squares(3)": "generator([0, 1, 4])",
        "{(1,): {'b', 'a'}}": "{(1,): {'a', 'b'}}",
        "'x' * 5000": "'" + "x" * 1998 + "…",
        "set(), bytearray(b'a')": "(set(), bytearray(b'a'))",
    }
    found = seen(sandboxes, SHAPES, *map(Probe, calls))
    assert [observation.actual for observation in found] == list(calls.values())


def test_an_expected_exception_is_met_by_its_type_and_those_it_derives_from(sandboxes: Sandboxes) -> None:
    code = "class Odd(ValueError): pass\ndef f(x):\n    if x: raise Odd('bad')\n    return x\n"
    found = seen(
        sandboxes,
        code,
        Probe("f(1)", raises="Odd"),
        Probe("f(1)", raises="ValueError"),
        Probe("f(1)", raises="*"),
        Probe("f(1)", raises="KeyError"),
        Probe("f(0)", raises="ValueError"),
        Probe("f(1)", "1"),
    )
    assert [observation.matches for observation in found] == [True, True, True, False, False, False]
    assert found[0].error == "Odd: bad"


def test_code_that_lacks_what_is_called_raises_nothing_of_its_own(sandboxes: Sandboxes) -> None:
    code = "class Stack:\n    pass\ndef slug(text): return text\ndef add(a): return a\n"
    calls = ["slugify(None)", "Stack().pop()", "add('a', 1)"]
    kinds = [["*", "NameError", "Exception"], ["*", "AttributeError", "Exception"], ["*", "Exception", "ValueError"]]
    probes = [Probe(call, raises=raises) for call, named in zip(calls, kinds, strict=True) for raises in named]
    found = seen(sandboxes, code, *probes)
    assert {(observation.outcome, observation.matches) for observation in found} == {(Outcome.BAD_PROBE, None)}


def test_arguments_that_do_not_fit_are_what_a_type_error_by_name_asks_for(sandboxes: Sandboxes) -> None:
    [found] = seen(sandboxes, "def add(a, b): return a + b\n", Probe("add(1)", raises="TypeError"))
    assert (found.outcome, found.matches) == (Outcome.RAISED, True)


def test_what_is_not_here_is_refused_wherever_it_is_imported(sandboxes: Sandboxes) -> None:
    code = (
        "def package():\n    import numpy\n    return numpy\ndef neighbour():\n    from .util import one\n    return one\n"
        "def part():\n    import json.nothing\ndef name():\n    from json import nothing\n"
    )
    found = seen(sandboxes, code, *(Probe(f"{name}()") for name in ("package", "neighbour", "part", "name")))
    assert [run.outcome for run in found] == [Outcome.REFUSED] * 2 + [Outcome.RAISED] * 2


def test_the_recursion_limit_that_the_code_sets_holds_for_its_calls(sandboxes: Sandboxes) -> None:
    deep = "def f(n): return 0 if n == 0 else 1 + f(n - 1)\n"
    raised = f"import sys\nsys.setrecursionlimit(10000)\n{deep}"
    [found] = seen(sandboxes, raised, Probe("f(5000)", "5000"))
    assert found.matches
    [found] = seen(sandboxes, raised, Probe("f(50000)"))
    assert (found.error or "").startswith("RecursionError")
    [found] = seen(sandboxes, deep, Probe("f(5000)"))
    assert (found.error or "").startswith("RecursionError")


def test_a_byte_order_mark_is_no_part_of_the_code(sandboxes: Sandboxes) -> None:
    code = "\ufefffrom math import tau\ndef f(): return tau\n"
    [found] = seen(sandboxes, code, Probe("f()", "tau"))
    assert found.matches


def test_a_probe_that_cannot_be_asked_says_nothing_about_the_code(sandboxes: Sandboxes) -> None:
    found = seen(
        sandboxes,
        "class Box:\n    def get(self): return None\ndef f(a, b): return a.size\n",
        Probe("f(1)", "1"),
        Probe("g(1)", "1"),
        Probe("f(", "1"),
        Probe("f(1, 2)", "Box("),
        Probe("f(1, 2)", "Box()"),
        Probe("Box().put(1)", "1"),
        Probe("1", "1", setup="x = unknown"),
        Probe("f(1, 2)", "1"),
        Probe("Box().get().size", "1"),
    )
    assert [observation.outcome for observation in found] == [Outcome.BAD_PROBE] * 7 + [Outcome.RAISED] * 2
    assert [observation.matches for observation in found] == [None] * 7 + [False] * 2


def test_every_probe_meets_the_code_freshly_loaded(sandboxes: Sandboxes) -> None:
    code = "count = 0\nseen = []\ndef up():\n    global count\n    count += 1\n    return count\n"
    found = seen(
        sandboxes,
        code,
        Probe("up()", "1"),
        Probe("up()", "1"),
        Probe("(up(), up(), count)", "(1, 2, 2)"),
        Probe("up() + len(xs)", "3", setup="xs = [1, 2]\nup_again = lambda: up()"),
    )
    assert [observation.matches for observation in found] == [True] * 4


def test_a_setup_cannot_replace_a_part_of_the_code(sandboxes: Sandboxes) -> None:
    code = "def rate(): return 2\ndef price(n): return n * rate()\n"
    [found] = seen(sandboxes, code, Probe("price(3)", "6", setup="def rate(): return 100"))
    assert found.matches


def test_an_expected_value_knows_the_codes_imports_and_nothing_else_of_it(sandboxes: Sandboxes) -> None:
    code = "from decimal import Decimal as D\nfrom math import sqrt\nsecret = 5\ndef f(x): return D(x)\n"
    found = seen(sandboxes, code, Probe("f(2)", "D(2)"), Probe("f(4)", "D(sqrt(16))"), Probe("f(5)", "D(secret)"))
    assert [observation.matches for observation in found] == [True, True, None]
    assert found[2].outcome is Outcome.BAD_PROBE


def test_an_expected_value_that_never_comes_spoils_its_own_probe_only(sandboxes: Sandboxes) -> None:
    tight = Limits(wall_s=1.5, cpu_s=1)
    found = seen(sandboxes, ECHO, Probe("f(1)", "1"), Probe("f(2)", "10 ** 10 ** 10"), Probe("f(3)", "3"), limits=tight)
    assert [observation.matches for observation in found] == [True, None, True]
    assert found[1].outcome is Outcome.BAD_PROBE


def test_a_probe_that_never_ends_does_not_take_the_others_with_it(sandboxes: Sandboxes) -> None:
    code = (
        "import os, time\ndef f(x):\n    if x == 1: time.sleep(1000)\n    if x == 2:\n        while True: pass\n"
        "    if x == 3: os._exit(9)\n    return x\n"
    )
    tight = Limits(wall_s=1.5, cpu_s=1)
    found = seen(sandboxes, code, *(Probe(f"f({number})", str(number)) for number in range(5)), limits=tight)
    returned, timed_out, crashed = Outcome.RETURNED, Outcome.TIMED_OUT, Outcome.CRASHED
    assert [observation.outcome for observation in found] == [returned, timed_out, timed_out, crashed, returned]


def test_probes_that_no_time_is_left_for_are_not_tried(sandboxes: Sandboxes) -> None:
    code = "def f():\n    while True: pass\n"
    began = time.monotonic()
    found = seen(sandboxes, code, *[Probe("f()")] * 50, limits=Limits(wall_s=1.0, run_s=3.0))
    assert time.monotonic() - began < 15
    assert found[0].outcome is Outcome.TIMED_OUT
    assert found[-1].outcome is Outcome.NOT_TRIED
    assert found[-1].error == "no time was left to try this probe"


def test_a_probe_that_gets_less_than_its_time_is_not_blamed_for_not_ending(sandboxes: Sandboxes) -> None:
    code = "def f():\n    while True: pass\ndef g(): return 1\n"
    found = seen(sandboxes, code, Probe("f()"), Probe("f()"), limits=Limits(wall_s=2.0, run_s=3.0))
    assert [observation.outcome for observation in found] == [Outcome.TIMED_OUT, Outcome.NOT_TRIED]


def test_coroutines_are_awaited_and_asyncio_has_timers_tasks_and_locks(sandboxes: Sandboxes) -> None:
    code = (
        "import asyncio\nlock = asyncio.Lock()\nasync def one(x):\n    async with lock:\n        await asyncio.sleep(0.01)\n    return x\n"
        "async def both(): return await asyncio.gather(one(1), one(2))\ndef outer(): return asyncio.run(both())\n"
        "async def stuck(): await asyncio.Event().wait()\n"
    )
    found = seen(
        sandboxes,
        code,
        Probe("await both(), await one(3)", "([1, 2], 3)"),
        Probe("outer()", "[1, 2]"),
        Probe("stuck()"),
    )
    assert [observation.matches for observation in found] == [True, True, None]
    assert found[2].outcome is Outcome.RAISED


def test_sets_keep_one_order_and_chance_is_real(sandboxes: Sandboxes) -> None:
    code = (
        "import random, time\ndef words(): return list({'one', 'two', 'three', 'four'})\n"
        "def chance(): return random.random(), time.time()\n"
    )
    first = seen(sandboxes, code, Probe("words()"), Probe("chance()"))
    second = seen(sandboxes, code, Probe("words()"), Probe("chance()"))
    assert first[0].actual == second[0].actual
    assert first[1].actual != second[1].actual


def test_another_seed_shows_what_hangs_on_the_order_of_a_set(sandboxes: Sandboxes) -> None:
    code = (
        "from dataclasses import dataclass\nWORDS = 'one two three four five six seven'.split()\n@dataclass\nclass Box:\n    kept: set\n"
        "def listed(): return list(set(WORDS))\ndef held(): return set(WORDS)\n"
        "def counted(): return {word: len(word) for word in set(WORDS)}\ndef boxed(): return [Box(set(WORDS))]\n"
    )
    probes = [Probe(f"{name}()") for name in ("listed", "held", "counted", "boxed")]
    first = seen(sandboxes, code, *probes)
    second = seen(sandboxes, code, *probes, limits=Limits(hash_seed=1))
    assert [one.value == other.value for one, other in zip(first, second, strict=True)] == [False, True, True, True]
    assert first[1].actual == second[1].actual


def test_what_is_printed_is_kept_and_cut(sandboxes: Sandboxes) -> None:
    code = "import sys\ndef f(n):\n    print('é' * n)\n    sys.stderr.write('end')\n    return n\n"
    short, long = seen(sandboxes, code, Probe("f(3)"), Probe("f(6000)"))
    assert short.output == "ééé\nend"
    assert long.outcome is Outcome.RETURNED
    assert len(long.output) == 4000


def test_a_large_program_and_many_probes_are_one_process(sandboxes: Sandboxes) -> None:
    code = "\n".join(f"def f{number}(x): return x + {number}" for number in range(600))
    found = seen(sandboxes, code, *(Probe(f"f{number}(1)", str(number + 1)) for number in range(0, 600, 200)))
    assert all(observation.matches for observation in found)


def test_a_check_that_raises_ends_the_run_and_its_process(sandboxes: Sandboxes) -> None:
    class Cancelled(Exception):
        pass

    looks = iter(range(2))

    def check() -> None:
        if next(looks, None) is None:
            raise Cancelled

    before = children_of(os.getpid())
    with pytest.raises(Cancelled):
        sandboxes.run(Language.PYTHON, "while True: pass", [Probe("1")], check=check)
    assert children_of(os.getpid()) <= before


def test_runs_beyond_the_bound_wait_their_turn(sandbox_cache: Path) -> None:
    one = Sandboxes(cache_dir=sandbox_cache, most_at_once=1)
    running: list[int] = []
    done: list[bool] = []
    own = children_of(os.getpid())

    def run() -> None:
        ran = one.run(Language.PYTHON, "import time\ntime.sleep(0.3)\n", [Probe("1", "1")], check=look)
        done.append(bool(ran.observations[0].matches))

    def look() -> None:
        running.append(len(children_of(os.getpid()) - own))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [True] * 3
    assert max(running) == 1


def test_the_process_ends_with_the_one_that_started_it(sandbox_cache: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom shared.sandbox.model import *\nfrom shared.sandbox.python import PythonRunner\n"
        "runner = PythonRunner(Path(sys.argv[1]))\n"
        "limits = Limits(wall_s=60, cpu_s=60)\n"
        "def look(): print('look', flush=True)\n"
        "runner.run(Language.PYTHON, 'while True: pass', [Probe('1')], limits=limits, check=look)\n"
    )
    starter = subprocess.Popen([sys.executable, "-c", program, str(sandbox_cache)], stdout=subprocess.PIPE, cwd=ROOT)
    assert starter.stdout is not None
    with starter, starter.stdout:
        started: set[int] = set()
        while not started:
            assert starter.stdout.readline()
            started = children_of(starter.pid)
        starter.stdout.readline()
        watched = [os.pidfd_open(pid) for pid in started]
        starter.send_signal(signal.SIGKILL)
        starter.wait()
        for descriptor in watched:
            assert _ends(descriptor, within_s=10)
            os.close(descriptor)


def _ends(process: int, *, within_s: float) -> bool:
    import select

    ready, _, _ = select.select([process], [], [], within_s)
    return bool(ready)


def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(SandboxUnavailable):
        PythonRunner(folder).warm()


def test_compiled_code_that_is_not_what_its_name_says_is_never_loaded(sandbox_cache: Path, tmp_path: Path) -> None:
    PythonRunner(sandbox_cache).warm()
    kept = [path for path in sandbox_cache.iterdir() if path.name.startswith(("cpython-", "harness-"))]
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    stem = kept[0].name[:-64]
    changed = folder / f"{stem}{'0' * 64}"
    changed.write_bytes(b"not what its name says")
    loose = folder / f"{stem}{'1' * 64}"
    loose.write_bytes(b"anybody's")
    loose.chmod(0o666)
    for path in kept:
        (folder / path.name).write_bytes(path.read_bytes())
    runner = PythonRunner(folder)
    runner.warm()
    assert not changed.exists()
    assert not loose.exists()
    [found] = runner.run(Language.PYTHON, ECHO, [Probe("f(1)", "1")], limits=Limits(), check=lambda: None).observations
    assert found.matches
