"""Why the embedded stack does not start, in words for the person at the terminal."""

from __future__ import annotations


class StackFault(Exception):
    """The stack cannot start or go on. `problem` is one line; `remedy` says what to do about it."""

    def __init__(self, problem: str, remedy: str = "") -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{problem}: {remedy}" if remedy else problem)


class StartFailed(StackFault):
    """A part of the stack did not come up. `log_tail` holds the last lines that it wrote."""

    def __init__(self, problem: str, *, log: str, log_tail: str) -> None:
        self.log_tail = log_tail
        super().__init__(problem, f"the log is {log}")
