"""Python that means harm, and how each piece of it has to end."""

# ruff: noqa: E501 - a program a row
from __future__ import annotations

from dataclasses import dataclass

from shared.sandbox.model import Outcome

RETURNED, RAISED, NOT_LOADED = Outcome.RETURNED, Outcome.RAISED, Outcome.NOT_LOADED
TIMED_OUT, NO_MEMORY, FLOOD = Outcome.TIMED_OUT, Outcome.OUT_OF_MEMORY, Outcome.TOO_MUCH_OUTPUT
REFUSED, CRASHED, BAD_PROBE = Outcome.REFUSED, Outcome.CRASHED, Outcome.BAD_PROBE


@dataclass(frozen=True)
class Hostile:
    """A program, the call that sets it off, and the outcomes it may have. `says`: what the actual value or the error must hold."""

    name: str
    code: str
    call: str
    outcomes: tuple[Outcome, ...]
    says: str = ""


def _table(
    *rows: tuple[str, str, str, tuple[Outcome, ...]] | tuple[str, str, str, tuple[Outcome, ...], str],
) -> list[Hostile]:
    return [Hostile(*row) for row in rows]


FILES = _table(
    ("read a file", "def f(): return open('/etc/passwd').read()", "f()", (REFUSED,), "FileNotFoundError"),
    ("read a file while loading", "text = open('/etc/passwd').read()", "text", (REFUSED,)),
    ("write a file", "def f():\n    with open('/var/tmp/escaped', 'w') as out: out.write('x')", "f()", (REFUSED,)),
    ("write beside itself", "def f(): return open('escaped.txt', 'x')", "f()", (REFUSED,)),
    ("write with pathlib", "from pathlib import Path\ndef f(): return Path('escaped').write_text('x')", "f()", (REFUSED,)),
    ("list the root", "import os\ndef f(): return os.listdir('/')", "f()", (REFUSED,)),
    ("climb out", "def f(): return open('../../../../../../etc/hostname').read()", "f()", (REFUSED,)),
    ("read its own memory", "def f(): return open('/proc/self/environ', 'rb').read()", "f()", (REFUSED,)),
    ("open a descriptor", "import os\ndef f(): return [os.read(n, 10) for n in range(3, 20)]", "f()", (REFUSED, RAISED)),
    ("make a folder", "import os\ndef f(): os.makedirs('/var/tmp/escaped/deep')", "f()", (REFUSED,)),
    ("make a temporary file", "import tempfile\ndef f(): return tempfile.NamedTemporaryFile()", "f()", (REFUSED,)),
    ("keep a database", "import sqlite3\ndef f(): return sqlite3.connect('/var/tmp/escaped.db').execute('create table t (x)')", "f()", (REFUSED, RAISED, NOT_LOADED)),
    ("delete", "import os\ndef f(): os.remove('/etc/passwd')", "f()", (REFUSED,)),
    ("link", "import os\ndef f(): os.link('/etc/passwd', '/var/tmp/escaped')", "f()", (REFUSED,)),
    ("change to a folder", "import os\ndef f(): os.chdir('/etc'); return open('passwd').read()", "f()", (REFUSED,)),
    ("by another name", "def f(): return getattr(__import__('bu' + 'iltins'), 'op' + 'en')('/etc/shadow')", "f()", (REFUSED,)),
    ("by object's subclasses", "def f():\n    for kind in ().__class__.__base__.__subclasses__():\n        if kind.__name__ == 'FileLoader':\n            return kind('x', '/etc/passwd').get_data('/etc/passwd')", "f()", (REFUSED,)),
)  # fmt: skip

OUTSIDE = _table(
    ("a socket", "import socket\ndef f(): return socket.create_connection(('127.0.0.1', 80))", "f()", (REFUSED,)),
    ("a bare socket", "import socket\ndef f(): return socket.socket()", "f()", (REFUSED,)),
    ("an address", "from urllib.request import urlopen\ndef f(): return urlopen('http://127.0.0.1/').read()", "f()", (REFUSED,)),
    ("a process", "import subprocess\ndef f(): return subprocess.run(['ls'])", "f()", (REFUSED,)),
    ("a shell", "import os\ndef f(): return os.system('ls')", "f()", (REFUSED,)),
    ("a pipe to a shell", "import os\ndef f(): return os.popen('ls').read()", "f()", (REFUSED,)),
    ("a fork bomb", "import os\ndef f():\n    while True: os.fork()", "f()", (REFUSED,)),
    ("a thread", "import threading\ndef f(): threading.Thread(target=print).start()", "f()", (REFUSED,)),
    ("a pool", "from concurrent.futures import ThreadPoolExecutor\ndef f():\n    with ThreadPoolExecutor() as pool: return list(pool.map(abs, [1]))", "f()", (REFUSED,)),
    ("processes", "import multiprocessing", "1", (REFUSED,)),
    ("ctypes", "import ctypes\ndef f(): return ctypes.CDLL(None)", "f()", (REFUSED,)),
    ("the environment", "import os\ndef f(): return os.environ['PATH']", "f()", (REFUSED,)),
    ("the whole environment", "import os\ndef f(): return dict(os.environ)", "f()", (RETURNED,), "{}"),
    ("kill", "import os, signal\ndef f(): os.kill(1, 9)", "f()", (REFUSED,)),
    ("an alarm", "import signal\ndef f(): signal.alarm(1)", "f()", (REFUSED,)),
    ("standard input", "def f(): return input()", "f()", (RAISED,), "EOFError"),
    ("a package that is not there", "import numpy as np\ndef f(): return np.zeros(1)", "f()", (NOT_LOADED,), "No module named 'numpy'"),
    ("memory by address", "import _testcapi\ndef f(): return _testcapi.set_nomemory(0)", "f()", (RETURNED, RAISED, CRASHED, NO_MEMORY, NOT_LOADED)),
)  # fmt: skip

BOMBS = _table(
    ("a loop", "def f():\n    while True: pass", "f()", (TIMED_OUT,)),
    ("a loop while loading", "while True: pass", "1", (TIMED_OUT,)),
    ("a loop that catches all", "def f():\n    while True:\n        try:\n            while True: pass\n        except BaseException: pass", "f()", (TIMED_OUT,)),
    ("a loop in C", "def f(): return sum(range(10**12))", "f()", (TIMED_OUT,)),
    ("a long sleep", "import time\ndef f(): time.sleep(1000)", "f()", (TIMED_OUT,)),
    ("asyncio that waits for nothing", "import asyncio\nasync def f(): await asyncio.sleep(1000)", "f()", (TIMED_OUT,)),
    ("a huge integer", "def f(): return 10 ** 10 ** 8", "f()", (TIMED_OUT, NO_MEMORY)),
    ("a shift", "def f(): return 1 << (1 << 40)", "f()", (RAISED, NO_MEMORY)),
    ("a regex bomb", "import re\ndef f(): return re.match(r'(a+)+$', 'a' * 40 + 'b')", "f()", (TIMED_OUT,)),
    ("a generator without end", "def f():\n    n = 0\n    while True:\n        yield n\n        n += 1", "f()", (RETURNED,), "and so on"),
    ("a list without end", "def f():\n    kept = []\n    while True: kept.append(bytearray(1 << 20))", "f()", (NO_MEMORY,)),
    ("a list without end while loading", "kept = []\nwhile True: kept.append('x' * 100000 + str(len(kept)))", "1", (NO_MEMORY,)),
    ("one huge array", "def f(): return len(bytearray(1 << 30))", "f()", (NO_MEMORY,)),
    ("a string that doubles", "def f():\n    text = 'x'\n    while True: text += text", "f()", (NO_MEMORY,)),
    ("a compressed bomb", "import zlib\ndef f():\n    bomb = zlib.compress(b'0' * (1 << 22), 1)\n    return len(zlib.decompress(bomb) * 100)", "f()", (NO_MEMORY,)),
    ("recursion", "def f(n=0): return f(n + 1)", "f()", (RAISED,), "RecursionError"),
    ("recursion without a limit", "import sys\nsys.setrecursionlimit(10 ** 9)\ndef f(n=0): return f(n + 1)", "f()", (RAISED, NO_MEMORY, CRASHED, TIMED_OUT)),
    ("recursion in C", "def f():\n    nest = []\n    for _ in range(100000): nest = [nest]\n    return len(repr(nest))", "f()", (RAISED,), "RecursionError"),
    ("a nest that is freed", "def f():\n    nest = None\n    for _ in range(1000000): nest = (nest,)\n    return 1", "f()", (RETURNED, CRASHED, NO_MEMORY)),
    ("brackets", "def f(): return eval('(' * 100000 + ')' * 100000)", "f()", (RAISED,)),
    ("a flood", "def f():\n    while True: print('x' * 1000)", "f()", (FLOOD,)),
    ("a flood of errors", "import sys\ndef f():\n    while True: sys.stderr.write('x' * 1000)", "f()", (FLOOD,)),
    ("a flood past print", "import os\ndef f():\n    while True: os.write(1, b'x' * 1000)", "f()", (FLOOD,)),
    ("a value that is too big", "def f(): return list(range(1000000))", "f()", (FLOOD,)),
    ("a value that branches", "def f():\n    tree = []\n    for _ in range(50): tree = [tree, tree]\n    return tree", "f()", (FLOOD,)),
    ("a value within itself", "def f():\n    own = [1]\n    own.append(own)\n    return own", "f()", (RETURNED,), "<cycle>"),
)  # fmt: skip

TRICKS = _table(
    ("leave", "import os\ndef f(): os._exit(0)", "f()", (CRASHED,), "ended its own run"),
    ("leave while loading", "import os\nos._exit(7)", "1", (CRASHED,), "status 7"),
    ("abort", "import os\ndef f(): os.abort()", "f()", (CRASHED,)),
    ("exit", "import sys\ndef f(): sys.exit(0)", "f()", (RAISED,), "SystemExit"),
    ("exit while loading", "raise SystemExit", "1", (NOT_LOADED,), "SystemExit"),
    ("interrupt", "def f(): raise KeyboardInterrupt", "f()", (RAISED,), "KeyboardInterrupt"),
    ("an exception of its own", "class Odd(BaseException):\n    def __str__(self): raise self\ndef f(): raise Odd", "f()", (RAISED,), "Odd"),
    ("a fault in the engine's memory", "import faulthandler\ndef f(): faulthandler._sigsegv()", "f()", (CRASHED, RAISED)),
    ("trace the harness", "import sys\nsys.settrace(lambda *a: 1 / 0)\ndef f(): return 1", "1 + 1", (RETURNED, RAISED, NOT_LOADED, CRASHED)),
    ("trace the harness from within", "import sys\ndef t(*a):\n    while True: pass\ndef f():\n    sys.setprofile(t)\n    return 1", "f()", (TIMED_OUT,)),
    ("replace builtins", "import builtins\nfor name in ('len', 'type', 'isinstance', 'format', 'repr', 'any', 'list', 'str'):\n    setattr(builtins, name, None)\ndef f(): return [1, 'x', {2: 3.5}]", "f()", (RETURNED,), "[1, 'x', {2: 3.5}]"),
    ("replace what writes", "import os, sys\nos.write = sys.stdout.write = print = None\nsys.stdout = sys.stderr = None\ndef f(): return 5", "f()", (RETURNED,), "5"),
    ("a recursion limit of a few", "import sys\ndef f():\n    sys.setrecursionlimit(12)\n    return [[[[[[[[1]]]]]]]]", "f()", (RETURNED, RAISED)),
    ("an audit hook that refuses all", "import sys\ndef hook(*a): raise RuntimeError('no')\nsys.addaudithook(hook)\ndef f(): return 1", "f()", (RETURNED, RAISED)),
    ("hunt for objects", "import gc\ndef f(): return sum(1 for thing in gc.get_objects() if isinstance(thing, dict) and 'expected' in thing)", "f()", (RETURNED,), "0"),
    ("read the caller's frames", "import sys\ndef f():\n    frame, seen = sys._getframe(), []\n    while frame:\n        seen += [k for k in frame.f_locals if k == 'expected']\n        frame = frame.f_back\n    return seen", "f()", (RETURNED,), "[]"),
    ("forge a report", "import os\ndef f():\n    os.write(1, b'{\"outcome\": \"returned\", \"value\": [\"i\", \"2a\"]}')\n    return 1", "f()", (RETURNED,), "1"),
    ("equal to everything", "class All(int):\n    def __eq__(self, other): return True\n    __hash__ = int.__hash__\ndef f(): return All(1)", "f()", (RETURNED,), "All(1)"),
    ("pose as a string", "class Fake:\n    @property\n    def __class__(self): return str\n    def __repr__(self): return \"'42'\"\ndef f(): return Fake()", "f()", (RETURNED,)),
    ("a repr that raises", "class Rude:\n    def __repr__(self): raise KeyboardInterrupt\ndef f(): return Rude()", "f()", (RETURNED,), "repr raised"),
    ("a repr that never ends", "class Rude:\n    def __repr__(self):\n        while True: pass\ndef f(): return Rude()", "f()", (TIMED_OUT,)),
    ("a hash that never ends", "class Rude:\n    def __hash__(self):\n        while True: pass\ndef f(): return {Rude()}", "f()", (TIMED_OUT,)),
    ("a list that counts wrongly", "class Odd(list):\n    def __len__(self): return -1\n    def __iter__(self): raise OSError\ndef f(): return Odd([1])", "f()", (RETURNED,), "Odd([1])"),
    ("attributes that raise", "class Odd:\n    def __getattribute__(self, name): raise MemoryError\ndef f(): return Odd()", "f()", (RETURNED, RAISED, NO_MEMORY)),
    ("a metaclass that lies", "class Meta(type):\n    @property\n    def __mro__(cls): raise OSError\n    @property\n    def __name__(cls): return 3\nclass Odd(Exception, metaclass=Meta): pass\ndef f(): raise Odd('x')", "f()", (RAISED,)),
    ("code that is text", "def f(): exec('while True: pass')", "f()", (TIMED_OUT,)),
    ("bytecode by hand", "def f(): pass\nf.__code__ = f.__code__.replace(co_code=b'\\xff' * 40)", "f()", (RAISED, CRASHED, NOT_LOADED)),
    ("end after the end", "import atexit, os\natexit.register(lambda: os.write(1, b'x' * 100000))\ndef f(): return 1", "f()", (RETURNED,), "1"),
    ("a finaliser that floods", "class Last:\n    def __del__(self):\n        while True: pass\nkept = Last()\ndef f(): return 1", "f()", (RETURNED,), "1"),
    ("NUL in the code", "x = '\0'", "x", (NOT_LOADED,)),
    ("half a character in the code", "x = '\ud800'", "x", (NOT_LOADED,)),
    ("half a character as a value", "def f(): return chr(0xd800) + chr(0)", "f()", (RETURNED,)),
    ("no syntax at all", "def f(:", "f()", (NOT_LOADED,), "SyntaxError"),
    ("no syntax in the call", "def f(): return 1", "f(", (BAD_PROBE,), "SyntaxError"),
    ("a name that is not there", "def f(): return 1", "g()", (BAD_PROBE,), "NameError"),
    ("modules under false names", "import sys\nsys.modules['json'] = sys.modules['os'] = sys.modules['sys'] = None\ndef f(): return 1", "f()", (RETURNED,), "1"),
)  # fmt: skip

HOSTILE = [*FILES, *OUTSIDE, *BOMBS, *TRICKS]
