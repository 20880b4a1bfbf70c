"""What a run of JavaScript or TypeScript says about its probes."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from shared.sandbox.deno import DenoRunner
from shared.sandbox.model import Language, Limits, Observation, Outcome, Probe
from tests.processes import children_of

JS, TS = Language.JAVASCRIPT, Language.TYPESCRIPT
RETURNED, RAISED, BAD_PROBE = Outcome.RETURNED, Outcome.RAISED, Outcome.BAD_PROBE


def seen(code: str, *probes: Probe, language: Language = JS, limits: Limits | None = None) -> tuple[Observation, ...]:
    return DenoRunner().run(language, code, probes, limits=limits or Limits(), check=lambda: None).observations


def test_a_value_is_compared_with_one_that_was_made_without_the_code() -> None:
    code = "function add(a, b) { return a - b }\nconst secret = 3"
    wrong, right, blind = seen(code, Probe("add(1, 2)", "3"), Probe("add(5, 2);", "3"), Probe("add(5, 2)", "secret"))
    assert (wrong.outcome, wrong.actual, wrong.expected, wrong.matches) == (RETURNED, "-1", "3", False)
    assert (right.actual, right.matches, right.alike) == ("3", True, True)
    assert (blind.outcome, blind.error) == (BAD_PROBE, "expected: ReferenceError: secret is not defined")


def test_typescript_runs_without_its_types_and_whether_they_fit_does_not_matter() -> None:
    code = """enum Level { Low = 1, High }
interface Box<T> { value: T }
class Pair { constructor(public left: number, readonly right: string) {} }
export function box<T>(value: T): Box<T> { return { value } }
export default class Other {}
const wrong: number = "text";
"""
    probes = [
        Probe("box<number>(Level.High)", "{ value: 2 } as { value: number }"),
        Probe("new Pair(1, 'a')", "{left: 1, right: 'a'}"),
        Probe("wrong", "'text'"),
    ]
    boxed, pair, wrong = seen(code, *probes, language=TS)
    assert (boxed.actual, boxed.matches) == ('{"value": 2}', True)
    assert (pair.actual, pair.matches, pair.alike) == ('Pair {"left": 1, "right": "a"}', False, True)
    assert wrong.matches is True


def test_each_probe_meets_the_code_freshly_loaded_with_its_own_setup() -> None:
    code = "let count = 0;\nfunction next() { return ++count }"
    setup = "next(); const more = next();"
    first, second = seen(code, Probe("next()", "1"), Probe("more + next()", "5", setup=setup))
    assert first.matches is True
    assert second.matches is True


def test_promises_are_awaited_and_await_may_be_written() -> None:
    code = "const later = (value) => new Promise((ok) => setTimeout(ok, 5, value));"
    code += "\nasync function fails() { throw new RangeError('far') }"
    probes = [Probe("later(4)", "4"), Probe("(await later(2)) * 2", "4"), Probe("fails()", raises="RangeError")]
    assert [each.matches for each in seen(code, *probes)] == [True, True, True]


@pytest.mark.parametrize(
    ("raises", "matches"), [("TooFar", True), ("RangeError", True), ("*", True), ("TypeError", False)]
)
def test_an_error_is_known_by_its_name_and_its_classes(raises: str, matches: bool) -> None:
    code = "class TooFar extends RangeError {}\nfunction go() { throw new TooFar('stop') }"
    [observation] = seen(code, Probe("go()", raises=raises))
    assert (observation.outcome, observation.matches, observation.error) == (RAISED, matches, "RangeError: stop")


def test_an_error_where_a_value_was_expected_and_the_reverse_match_nothing() -> None:
    thrown, returned, looked = seen("", Probe("null.x", "1"), Probe("1", raises="*"), Probe("1"))
    assert (thrown.outcome, thrown.matches) == (RAISED, False)
    assert (returned.outcome, returned.matches) == (RETURNED, False)
    assert (looked.actual, looked.matches) == ("1", None)


def test_a_probe_that_cannot_be_meant_is_no_fault_of_the_code() -> None:
    code = "const stack = [];\nfunction broken() { return missing }"
    probes = [
        Probe("absent(1)"),
        Probe("stack.peek()"),
        Probe("stack.push("),
        Probe("stack", setup="import 'x'"),
        Probe("broken()"),
        Probe("stack", expected="["),
        Probe("absent(1)", raises="ReferenceError"),
        Probe("'\ud800'"),
    ]
    outcomes = [each.outcome for each in seen(code, *probes)]
    assert outcomes == [BAD_PROBE, BAD_PROBE, BAD_PROBE, BAD_PROBE, RAISED, BAD_PROBE, BAD_PROBE, BAD_PROBE]


def test_code_that_does_not_load_says_where() -> None:
    code = "function one() {}\n\nfunction two( {"
    for observation in seen(code, Probe("one()"), Probe("1", "1")):
        assert observation.outcome is Outcome.NOT_LOADED
        assert (observation.error or "").startswith("SyntaxError: ")
        assert (observation.error or "").endswith("at 3:16")


def test_commonjs_exports_are_taken() -> None:
    code = "function twice(n) { return 2 * n }\nmodule.exports = { twice };\nif (require.main === module) twice();"
    [observation] = seen(code, Probe("twice(2)", "4"))
    assert observation.matches is True


def test_output_belongs_to_its_probe_and_is_bounded() -> None:
    code = "console.log('loaded');\nfunction say(n) { console.error('x'.repeat(n)); return n }"
    few, many = seen(code, Probe("say(2)", "2"), Probe("say(9000)", "9000"))
    assert few.output == "loaded\nxx\n"
    assert many.to_json()["output"].startswith("loaded\nxxxx")
    assert len(many.to_json()["output"]) == 4000


def test_a_probe_that_ends_its_process_takes_no_other_probe_with_it() -> None:
    code = "function die() { Deno.kill(Deno.pid, 'SIGKILL') }\nfunction hang() { for (;;); }"
    probes = [
        Probe("1", "1"),
        Probe("die()"),
        Probe("2", "2"),
        Probe("hang()"),
        Probe("3", "3"),
        Probe("4", "(() => { for (;;); })()"),
    ]
    outcomes = [each.outcome for each in seen(code, *probes, limits=Limits(wall_s=0.5))]
    assert outcomes == [RETURNED, Outcome.CRASHED, RETURNED, Outcome.TIMED_OUT, RETURNED, BAD_PROBE]


def test_cpu_time_is_bounded_where_wall_time_would_allow_more() -> None:
    [observation] = seen("", Probe("(() => { for (;;); })()"), limits=Limits(wall_s=30, cpu_s=1))
    assert (observation.outcome, observation.error) == (Outcome.TIMED_OUT, "more than 1 s of CPU time were used")


def test_what_the_runs_time_leaves_no_room_for_was_not_tried() -> None:
    hang = Probe("new Promise(() => {})")
    tried, cut_short, untried = seen("", hang, hang, hang, limits=Limits(wall_s=1.0, run_s=1.9))
    assert tried.outcome is Outcome.TIMED_OUT
    assert cut_short.outcome is untried.outcome is Outcome.NOT_TRIED
    assert cut_short.error == untried.error == "no time was left to try this probe"


def test_a_run_that_is_called_off_leaves_no_process() -> None:
    before = children_of(os.getpid())
    entered = threading.Event()

    def check() -> None:
        if entered.is_set():
            raise KeyboardInterrupt
        entered.set()

    with pytest.raises(KeyboardInterrupt):
        DenoRunner().run(JS, "", [Probe("new Promise(() => {})")], limits=Limits(), check=check)
    assert children_of(os.getpid()) <= before


def test_the_runtime_is_named_and_flaky_code_differs() -> None:
    ran = DenoRunner().run(
        JS, "", [Probe("Math.random()"), Probe("Math.random()")], limits=Limits(), check=lambda: None
    )
    assert ran.runtime.startswith("deno 2.")
    assert ran.observations[0].actual != ran.observations[1].actual


_HANGS = """
import sys
from shared.sandbox.deno import DenoRunner
from shared.sandbox.model import Language, Limits, Probe
DenoRunner().run(Language.JAVASCRIPT, "", [Probe(sys.argv[1])], limits=Limits(), check=lambda: None)
"""


@pytest.mark.parametrize("call", ["(() => { for (;;); })()", "Deno.kill(Deno.pid, 'SIGSTOP')"])
def test_no_process_outlives_a_worker_that_is_killed(call: str) -> None:
    with subprocess.Popen([sys.executable, "-c", _HANGS, call]) as worker:
        deno = _child_in_state(worker.pid, "T" if "STOP" in call else "SR")
        end = os.pidfd_open(deno)
        worker.kill()
    assert select.select([end], [], [], 20)[0] == [end]
    os.close(end)


def _child_in_state(pid: int, states: str) -> int:
    """Wait until the process's only child is deno and in one of `states`, and return its id."""
    for _ in range(500):
        for child in children_of(pid):
            name, _, rest = Path(f"/proc/{child}/stat").read_text().rpartition(")")
            if "(deno" in name and rest.split()[0] in states:
                return child
        threading.Event().wait(0.02)
    raise AssertionError("deno was never seen")
