"""Runs inside the interpreter of the sandbox, beside the submitted code: loads it, asks one probe of it, reports. Not imported by us.

CPython 3.12 for WASI, no site-packages. `compiled.py` makes one module of this file and the encoder. What it needs is taken before the
submitted code is loaded, its builtins are a copy of their own, and imports written in Python are avoided because they cost more than the
run. One job comes in, one report goes out, and the interpreter ends at once, before anything that the code has left behind could run.
"""

from __future__ import annotations

import builtins
import gc
import sys
import time
from _ast import Import, ImportFrom, Module, PyCF_ALLOW_TOP_LEVEL_AWAIT, PyCF_ONLY_AST
from _json import encode_basestring_ascii as quoted
from posix import _exit as leave
from posix import environ
from posix import write as write_to
from sys import getrecursionlimit, setrecursionlimit

from shared.sandbox.python_encoder import ModuleType, TooBig, base_of_type, encoded, name_of_type

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MOST_FRAMES = 5000
RECURSION_LIMIT = 1000
MOST_RECURSION = 1_000_000
BYTE_ORDER_MARK = "\ufeff"
CO_COROUTINE = 0x80
SUBMITTED = "submitted"
CODE_FILE = "<code>"
PROBE_FILE = "<probe>"

# Modules of the standard library that a probe may name without importing them, and that expected values may be made with.
PLAIN_MODULES = frozenset(
    (
        "array", "base64", "binascii", "bisect", "calendar", "cmath", "collections", "copy", "dataclasses", "datetime",
        "decimal", "enum", "fractions", "functools", "hashlib", "heapq", "html", "itertools", "json", "math", "numbers",
        "operator", "random", "re", "statistics", "string", "struct", "textwrap", "types", "typing", "unicodedata",
        "urllib", "uuid", "zlib",
    )
)  # fmt: skip
PLAIN_NAMES = {
    "Decimal": "decimal", "Fraction": "fractions", "date": "datetime", "timedelta": "datetime", "timezone": "datetime",
    "deque": "collections", "Counter": "collections", "OrderedDict": "collections", "defaultdict": "collections",
    "UUID": "uuid", "SimpleNamespace": "types", "nan": "math", "inf": "math",
}  # fmt: skip
# What this interpreter was built without, and what it has the shell of only.
MISSING_MODULES = frozenset(
    (
        "_ctypes", "_multiprocessing", "_posixshmem", "_posixsubprocess", "_ssl", "concurrent", "ctypes", "curses", "fcntl", "grp", "mmap",
        "multiprocessing", "pty", "pwd", "readline", "resource", "ssl", "syslog", "termios", "tty", "venv",
        "ensurepip", "pip",
    )
)  # fmt: skip
MISSING_FROM_OS = frozenset(
    (
        "abort", "execl", "execv", "execve", "execvp", "fork", "forkpty", "getgid", "getgroups", "getlogin", "getppid", "getuid",
        "geteuid", "kill", "killpg", "mkfifo", "nice", "openpty", "pipe", "popen", "posix_spawn", "sched_setaffinity", "setsid",
        "setuid", "spawnl", "spawnv", "symlink", "system", "umask", "uname", "wait", "waitpid", "chmod", "chown", "chroot",
        "cpu_count", "getloadavg", "dup", "dup2", "sendfile", "memfd_create",
    )
)  # fmt: skip
REACHING_EVENTS = (
    "open",
    "os.",
    "socket.",
    "subprocess.",
    "shutil.",
    "glob.",
    "tempfile.",
    "urllib.",
    "ctypes.",
    "sqlite3.",
)
SHELLS = ("_signal", "_socket", "select", "signal", "socket")
OWN_FILES = ("/usr/local/lib/python3", "/wlr/")


class Reached:
    """What the code reached for outside the sandbox, as the interpreter's own audit events tell, and whether it was loaded by then."""

    def __init__(self) -> None:
        self.event = ""
        self.has_loaded = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.event or not event.startswith(REACHING_EVENTS):
            return
        target = arguments[0] if arguments else ""
        if isinstance(target, str) and target.startswith(OWN_FILES):
            return
        self.event = event


class Scope(dict):  # type: ignore[type-arg]
    """Where a probe's names live: its own first, then the code's, then builtins, then plain parts of the standard library.

    A probe's own names never replace the code's: the code runs as it was submitted.
    """

    def __init__(self, module: Any) -> None:
        super().__init__(__builtins__=builtins, __name__=module.__name__)
        self.module = module

    def __missing__(self, name: str) -> Any:
        names = self.module.__dict__
        if name in names:
            return names[name]
        if hasattr(builtins, name):
            raise KeyError(name)
        if name in PLAIN_MODULES:
            return __import__(name)
        if name in PLAIN_NAMES:
            return getattr(__import__(PLAIN_NAMES[name]), name)
        raise KeyError(name)


def message_of(error: BaseException) -> str:
    """Return the text of an exception, whatever its class makes of str()."""
    try:
        return str(str.__str__(str(error)))[:1000]
    except BaseException as other:
        return "<its text raised " + name_of_type(type(other)) + ">"


def files_of(error: BaseException) -> list[str]:
    """Return the file of each frame that the exception came through, outermost first, without the harness's own."""
    files: list[str] = []
    try:
        trace = error.__traceback__
        while trace is not None and len(files) < MOST_FRAMES:
            files.append(trace.tb_frame.f_code.co_filename)
            trace = trace.tb_next
    except BaseException:
        return []  # an audit hook of the code forbids to look
    return [file for file in files if file != "<harness>"]


def is_refusal(error: BaseException | None, reached: Reached) -> bool:
    """True where the sandbox said no: outside files, network, processes, threads, environment."""
    for _ in range(5):
        if error is None:
            return False
        if said_no(error, reached):
            return True
        error = error.__cause__ or error.__context__
    return False


def said_no(error: Any, reached: Reached) -> bool:
    """`is_refusal` of one exception, without those it came from."""
    mro = base_of_type(type(error))
    if OSError in mro:
        return error.errno is not None and (bool(reached.event) or "wasi" in message_of(error))
    if ImportError in mro:
        if type(error.name) is str and error.name.partition(".")[0] in MISSING_MODULES:
            return True
        return reached.has_loaded and is_absent_module(error, mro)
    if AttributeError in mro:
        owner = getattr(error.obj, "__name__", "") if type(error.obj) is ModuleType else ""
        return owner in SHELLS or (owner in ("os", "posix") and error.name in MISSING_FROM_OS)
    if RuntimeError in mro:
        return message_of(error) == "can't start new thread"
    if KeyError in mro:
        files = files_of(error)
        return bool(files) and files[-1] in ("<frozen os>", "os.py")
    return False


def is_absent_module(error: Any, mro: tuple[type, ...]) -> bool:
    """True for an import of what lies beside the code or is a package: neither is here, whatever the code is worth."""
    if ModuleNotFoundError in mro:
        return type(error.name) is str and "." not in error.name
    return message_of(error).startswith("attempted relative import")


def is_bad_probe(error: Any, scope: Scope) -> bool:
    """True where it is the probe that is wrong, not the code: a name or member that is not there, a call that does not fit."""
    mro = base_of_type(type(error))
    files = files_of(error)
    if not files or files[-1] != PROBE_FILE or CODE_FILE in files:
        return False
    if NameError in mro:
        return error.name not in scope.module.__dict__
    if AttributeError in mro:
        owner = error.obj
        return owner is not None and (type(owner) in (ModuleType, type) or type(owner).__module__ == SUBMITTED)
    if TypeError in mro:
        return is_misfit(message_of(error))
    return False


def is_misfit(message: str) -> bool:
    """True for what CPython says of arguments that do not fit a signature."""
    return any(
        part in message
        for part in (
            "required positional argument", "required keyword-only argument", "positional arguments but",
            "positional argument but", "unexpected keyword argument", "multiple values for argument",
            "takes no arguments",
        )
    )  # fmt: skip


def await_it(coroutine: Any) -> Any:
    """Run a coroutine to its end: on the code's asyncio where it uses that, else by hand. Returns its value."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None:
        loop = asyncio.new_event_loop()
        return loop.run_until_complete(coroutine)
    try:
        while True:
            coroutine.send(None)
    except StopIteration as end:
        return end.value


def prepare_asyncio() -> None:
    """Give asyncio an event loop that needs neither sockets nor signals: timers, tasks, locks and queues work."""
    import asyncio
    from asyncio import base_events, events

    sleep = time.sleep  # noqa: TID251 - the event loop's own waiting

    class Timers:
        def select(self, timeout: float | None) -> list[Any]:
            if timeout is None:
                raise RuntimeError("nothing is left that could wake the program")
            if timeout > 0:
                sleep(timeout)
            return []

        def close(self) -> None:
            pass

    class Loop(base_events.BaseEventLoop):
        def __init__(self) -> None:
            super().__init__()
            self._selector = Timers()

        def _process_events(self, event_list: Any) -> None:
            pass

        def _write_to_self(self) -> None:
            pass

    class Policy(events.BaseDefaultEventLoopPolicy):
        _loop_factory = Loop

    asyncio.set_event_loop_policy(Policy())  # type: ignore[abstract]


class Report(Exception):
    """The end of a job: carries the report's members, already in JSON."""

    def __init__(self, outcome: str, **members: str) -> None:
        super().__init__(outcome)
        self.members = {"outcome": quoted(outcome), **members}


def failure(outcome: str, error: BaseException, **members: str) -> Report:
    """Return the report of an exception."""
    mro = [quoted(name_of_type(base)) for base in base_of_type(type(error)) if base is not object]
    return Report(
        outcome,
        type=quoted(name_of_type(type(error))),
        mro="[" + ",".join(mro) + "]",
        message=quoted(message_of(error)),
        **members,
    )


def judged(error: BaseException, reached: Reached, otherwise: str, **members: str) -> Report:
    """Return the report of an exception that the code let out."""
    if is_refusal(error, reached):
        return failure("refused", error, reached=quoted(reached.event), **members)
    if MemoryError in base_of_type(type(error)) and "Parser" not in message_of(error):
        return failure("out_of_memory", error, **members)
    return failure(otherwise, error, **members)


def compiled(text: str, mode: str, file: str, flags: int = 0) -> Any:
    """Compile, or raise what the compiler says. Never inherits the harness's own flags."""
    return compile(text, file, mode, flags, dont_inherit=True)


def compiled_code(code: str, flags: int = 0) -> Any:
    """Compile the submitted code; the mark that some editors put before it is no part of the language."""
    return compiled(code.removeprefix(BYTE_ORDER_MARK), "exec", CODE_FILE, flags)


def calm(recursion_limit: int = RECURSION_LIMIT) -> None:
    """Undo what the code may have set in the interpreter and would slow or trip the harness."""
    gc.disable()
    setrecursionlimit(recursion_limit)
    try:
        sys.settrace(None)
        sys.setprofile(None)
    except BaseException:
        return  # an audit hook of the code forbids it: what the trace costs is the code's own time


class Trial:
    """One probe against the code, freshly loaded."""

    def __init__(self, job: dict[str, Any], reached: Reached) -> None:
        self.job = job
        self.reached = reached
        self.ballast: bytearray | None = bytearray(1 << 20)
        self.module = ModuleType(SUBMITTED)
        self.scope = Scope(self.module)

    def report(self) -> Report:
        """Load, set up, call. Returns the `Report`."""
        try:
            self._load()
            self._set_up()
            return self._called()
        except Report as report:
            return report
        except BaseException as error:  # the code has broken the interpreter around the harness
            return failure("crashed", error)

    def _load(self) -> None:
        try:
            code = compiled_code(self.job["code"])
        except BaseException as error:
            raise failure("not_loaded", error) from None
        self._compile_probe()
        sys.modules[SUBMITTED] = self.module
        try:
            if "asyncio" in self.job["code"]:
                prepare_asyncio()
            exec(code, self.module.__dict__)
        except BaseException as error:
            self._drop(error)
            raise judged(error, self.reached, "not_loaded") from None
        self.reached.has_loaded = True
        calm(max(RECURSION_LIMIT, min(getrecursionlimit(), MOST_RECURSION)))

    def _compile_probe(self) -> None:
        try:
            self.setup = compiled(self.job["setup"], "exec", PROBE_FILE, PyCF_ALLOW_TOP_LEVEL_AWAIT)
            self.call = compiled(self.job["call"].strip(), "eval", PROBE_FILE, PyCF_ALLOW_TOP_LEVEL_AWAIT)
        except BaseException as error:
            raise failure("bad_probe", error) from None

    def _set_up(self) -> None:
        if not self.job["setup"].strip():
            return
        try:
            self._run(self.setup)
        except BaseException as error:
            self._drop(error)
            files = files_of(error)
            raise judged(
                error, self.reached, "raised" if CODE_FILE in files else "bad_probe", stage=quoted("setup")
            ) from None

    def _called(self) -> Report:
        try:
            value = self._run(self.call)
            if is_coroutine(value):
                value = await_it(value)
            calm()
            return Report("returned", value=encoded(value))
        except TooBig:
            return Report("too_much_output", message=quoted("the value is too big to be shown or compared"))
        except BaseException as error:
            self._drop(error)
            calm()
            bad = is_bad_probe(error, self.scope)
            return judged(error, self.reached, "bad_probe" if bad else "raised", stage=quoted("call"))

    def _run(self, code: Any) -> Any:
        value = eval(code, self.scope)
        return await_it(value) if code.co_flags & CO_COROUTINE else value

    def _drop(self, error: BaseException) -> None:
        """Make room to report: the memory that was kept back, and after a MemoryError what the code's frames hold."""
        self.ballast = None
        if MemoryError in base_of_type(type(error)):
            error.__traceback__ = None
            error.__context__ = None
            self.module.__dict__.clear()


def is_coroutine(value: Any) -> bool:
    """True for what an `async def` gives when it is called."""
    return name_of_type(type(value)) == "coroutine" and hasattr(type(value), "cr_code")


def expectations(job: dict[str, Any]) -> Report:
    """Return the report of all expected values of a run, each evaluated where the submitted code is not."""
    found = []
    for text, setup in job["expected"]:
        try:
            found.append('{"value":' + expected_value(job["code"], text, setup) + "}")
        except TooBig:
            found.append('{"error":"the expected value is too big to be compared"}')
        except BaseException as error:
            problem = name_of_type(type(error)) + ": " + message_of(error)
            found.append('{"error":' + quoted(problem) + "}")
    return Report("returned", values="[" + ",".join(found) + "]")


def expected_value(code: str, text: str, setup: str) -> str:
    """Evaluate one expected value: with what the code imports from the plain library, and the probe's setup if it names that."""
    call = compiled(text.strip(), "eval", PROBE_FILE)
    module = ModuleType("expected")
    adopt_imports(code, module)
    scope = Scope(module)
    try:
        return encoded(eval(call, scope))
    except NameError:
        if not setup.strip():
            raise
    exec(compiled(setup, "exec", PROBE_FILE), scope)
    return encoded(eval(call, scope))


def adopt_imports(code: str, module: Any) -> None:
    """Do the code's own imports of plain modules, so that an expected value may use the names they bind. Nothing else of it runs."""
    try:
        tree = compiled_code(code, PyCF_ONLY_AST)
    except BaseException:
        return
    for statement in tree.body:
        if isinstance(statement, Import):
            sources = [alias.name for alias in statement.names]
        elif isinstance(statement, ImportFrom) and statement.level == 0:
            sources = [statement.module or ""]
        else:
            continue
        if all(source.partition(".")[0] in PLAIN_MODULES for source in sources):
            try:
                exec(compile(Module([statement], []), "<imports>", "exec"), module.__dict__)
            except BaseException:
                continue


def main(job: dict[str, Any]) -> None:
    """Do one job and leave: the report goes out behind a word that only this call and the host know."""
    sys.stdout = sys.stderr
    environ.clear()
    sys.argv[:] = [""]
    setrecursionlimit(RECURSION_LIMIT)
    reached = Reached()
    sys.addaudithook(reached)
    report = expectations(job) if job["kind"] == "expected" else Trial(job, reached).report()
    text = "{" + ",".join(['"' + name + '":' + value for name, value in report.members.items()]) + "}"
    rest = (job["word"] + text).encode()
    while rest:
        rest = rest[write_to(1, rest) :]
    leave(0)
