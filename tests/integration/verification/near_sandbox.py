"""A stand-in for the sandboxes, for tests of what is around them: runs the tests' own harmless Python in this very process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from shared.sandbox.model import Language, Limits, Observation, Outcome, Probe, Ran


class NearSandbox:
    """Runs Python at once, without a bound on anything."""

    def run(
        self,
        language: Language,
        code: str,
        probes: Sequence[Probe],
        *,
        limits: Limits | None = None,  # noqa: ARG002 - the port has it
        check: Callable[[], None] | None = None,
    ) -> Ran:
        """Run each probe against the code freshly loaded."""
        observed = []
        for probe in probes:
            if check is not None:
                check()
            observed.append(_observed(code, probe))
        return Ran(language, "the tests' own", tuple(observed), 0)


def _observed(code: str, probe: Probe) -> Observation:
    scope: dict[str, Any] = {}
    try:
        exec(code, scope)  # noqa: S102 - the tests' own code
    except Exception as error:  # noqa: BLE001 - whatever it raises
        return Observation(Outcome.NOT_LOADED, error=f"{type(error).__name__}: {error}")
    try:
        exec(probe.setup, scope)  # noqa: S102 - the tests' own code
        actual = eval(probe.call, scope)  # noqa: S307 - the tests' own code
    except (NameError, SyntaxError) as error:
        return Observation(Outcome.BAD_PROBE, error=f"{type(error).__name__}: {error}")
    except Exception as error:  # noqa: BLE001 - whatever it raises
        name = type(error).__name__
        matches = None if probe.raises is None else probe.raises in ("*", name)
        return Observation(Outcome.RAISED, matches=matches, alike=matches, error=f"{name}: {error}")
    if probe.expected is None:
        is_wrong = None if probe.raises is None else False
        return Observation(Outcome.RETURNED, actual=repr(actual), matches=is_wrong, alike=is_wrong)
    expected = eval(probe.expected, {})  # noqa: S307 - the tests' own code
    is_same = type(actual) is type(expected) and actual == expected
    return Observation(
        Outcome.RETURNED, actual=repr(actual), expected=repr(expected), matches=is_same, alike=actual == expected
    )
