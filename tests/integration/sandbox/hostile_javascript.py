"""JavaScript that means harm, all of it TypeScript as well, and how each piece of it has to end."""

# ruff: noqa: E501 - one row, one line

from __future__ import annotations

from dataclasses import dataclass

from shared.sandbox.model import Outcome

RETURNED, RAISED, NOT_LOADED = Outcome.RETURNED, Outcome.RAISED, Outcome.NOT_LOADED
TIMED_OUT, NO_MEMORY, FLOOD = Outcome.TIMED_OUT, Outcome.OUT_OF_MEMORY, Outcome.TOO_MUCH_OUTPUT
REFUSED, CRASHED = Outcome.REFUSED, Outcome.CRASHED


@dataclass(frozen=True)
class Hostile:
    """What a function does, and the outcomes that calling it may have. `says`: what the value or the error must hold."""

    name: str
    body: str
    outcomes: tuple[Outcome, ...]
    says: str = ""


@dataclass(frozen=True)
class HostileModule:
    """A module that does its harm while it is loaded, or with its own top level; `f()` is called."""

    name: str
    code: str
    outcomes: tuple[Outcome, ...]
    says: str = ""


def _table(*rows: tuple[str, str, tuple[Outcome, ...]] | tuple[str, str, tuple[Outcome, ...], str]) -> list[Hostile]:
    return [Hostile(*row) for row in rows]


FILES = _table(
    ("reads a file", "return Deno.readTextFileSync('/etc/passwd')", (REFUSED,), "read"),
    ("reads a file by node:fs", "return (await import('node:fs')).readFileSync('/etc/passwd', 'utf8')", (REFUSED,)),
    ("reads a file by createRequire", "return (await import('node:module')).createRequire('file:///')('/etc/passwd')", (REFUSED,)),
    ("fetches a file", "return await (await fetch('file:///etc/passwd')).text()", (REFUSED,)),
    ("imports a file", "return await import('file:///etc/passwd')", (REFUSED,)),
    ("imports its neighbour", "return await import('./x.ts')", (REFUSED,)),
    ("resolves its neighbour", "return import.meta.resolve('./x.ts')", (REFUSED,)),
    ("requires a module", "return require('fs')", (REFUSED,)),
    ("writes a file", "Deno.writeTextFileSync('ESCAPED', 'x')", (REFUSED,), "write"),
    ("appends by node:fs", "(await import('node:fs')).appendFileSync('ESCAPED', 'x')", (REFUSED,)),
    ("makes a temporary file", "return Deno.makeTempFileSync()", (REFUSED,)),
    ("makes a link", "Deno.symlinkSync('/etc/passwd', 'ESCAPED')", (REFUSED,)),
    ("keeps a database", "return new (await import('node:sqlite')).DatabaseSync('ESCAPED')", (REFUSED,)),
    ("attaches a database", "new (await import('node:sqlite')).DatabaseSync(':memory:').exec(\"attach 'ESCAPED' as e\")", (REFUSED,)),
    ("keeps a cache", "return await caches.open('x')", (REFUSED,)),
    ("keeps an item", "localStorage.setItem('a', 'b')", (RAISED,)),
    ("has the engine write a log", "(await import('node:v8')).setFlagsFromString('--log-all --logfile=ESCAPED'); return eval('1')", (RETURNED,)),
    ("has the engine write a snapshot", "(await import('node:v8')).setHeapSnapshotNearHeapLimit(1)", (REFUSED,)),
    ("writes a heap snapshot", "(await import('node:v8')).writeHeapSnapshot('ESCAPED')", (REFUSED,)),
)  # fmt: skip

OUTSIDE = _table(
    ("fetches an address", "return await (await fetch('http://127.0.0.1:8000/')).text()", (REFUSED,), "net"),
    ("opens a WebSocket", "return new WebSocket('ws://127.0.0.1:8000')", (REFUSED,)),
    ("connects", "return await Deno.connect({ port: 8000 })", (REFUSED,)),
    ("connects by node:net", "const net = await import('node:net'); return await new Promise((ok, no) => net.connect(8000, '127.0.0.1').on('error', no).on('connect', ok))", (REFUSED,)),
    ("listens", "return Deno.listen({ port: 0 })", (REFUSED,)),
    ("looks up a name", "return await (await import('node:dns/promises')).lookup('localhost')", (REFUSED,)),
    ("imports from the web", "return await import('https://deno.land/x/a.ts')", (REFUSED,)),
    ("imports from npm", "return await import('npm:left-pad')", (REFUSED,)),
    ("imports from jsr", "return await import('jsr:@std/assert')", (REFUSED,)),
    ("imports a bare name", "return await import('lodash')", (REFUSED,)),
    ("reads the environment", "return Deno.env.get('PATH')", (REFUSED,), "env"),
    ("reads process.env", "return Object.keys(process.env)", (REFUSED,)),
    ("asks for the host's name", "return (await import('node:os')).hostname()", (REFUSED,)),
    ("runs a command", "return new Deno.Command('/bin/id').outputSync()", (REFUSED,)),
    ("runs a command by Deno.run", "return Deno.run({ cmd: ['/bin/id'] })", (REFUSED, RAISED)),
    ("runs a shell by node", "return (await import('node:child_process')).execSync('id')", (REFUSED,)),
    ("kills its parent", "Deno.kill(Deno.ppid, 'SIGKILL')", (REFUSED,)),
    ("kills everybody", "process.kill(-1, 'SIGKILL')", (REFUSED,)),
    ("loads a library", "return Deno.dlopen('libc.so.6', {})", (REFUSED,)),
    ("opens the inspector", "(await import('node:inspector')).open(9229)", (REFUSED,)),
    ("joins the inspector", "new (await import('node:inspector')).Session().connect()", (REFUSED,)),
    ("reaches for the runtime's operations", "return Deno[Deno.internal].core.ops", (RAISED,)),
    ("asks for a graphics card", "return await navigator.gpu?.requestAdapter()", (RETURNED, RAISED), "null"),
    ("asks for permission", "return (await Deno.permissions.request({ name: 'read' })).state", (RETURNED,), "denied"),
    ("starts a Worker that may read", "return new Worker('data:text/javascript,1', { type: 'module', deno: { permissions: { read: true } } })", (REFUSED,)),
    ("reads standard input", "const b = new Uint8Array(9); return (await import('node:fs')).readSync(0, b, 0, 9, 0)", (RAISED,)),
    ("closes every descriptor", "const fs = await import('node:fs'); for (let i = 0; i < 60; i++) try { fs.closeSync(i) } catch {} return 'closed'", (RETURNED,), "closed"),
)  # fmt: skip

TRICKS = _table(
    ("pollutes Object.prototype", "for (const n of ['value', 'get', 'transfer', 'kind', 'port']) Object.defineProperty(Object.prototype, n, { __proto__: null, get() { return 666 } }); return { a: [1] }", (RETURNED,), '{"a": [1]}'),
    ("pollutes Array.prototype", "Array.prototype.push = () => { throw 1 }; Array.prototype[Symbol.iterator] = () => { throw 2 }; Object.defineProperty(Array.prototype, '0', { set() { throw 3 } }); return [1, 2]", (RETURNED,), "[1, 2]"),
    ("pollutes Function.prototype", "Function.prototype.call = Function.prototype.apply = Function.prototype.bind = () => { throw 1 }; return 7", (RETURNED,), "7"),
    ("pollutes JSON", "JSON.stringify = () => '{}'; Object.prototype.toJSON = () => 9; return 'kept'", (RETURNED,), '"kept"'),
    ("pollutes String and Map", "String.prototype.slice = () => 'x'; Map.prototype.forEach = () => {}; return new Map([['a', 'b']])", (RETURNED,), 'Map(1) {"a" => "b"}'),
    ("replaces postMessage", "MessagePort.prototype.postMessage = () => {}; globalThis.postMessage = () => {}; return 8", (RETURNED,), "8"),
    ("forges a result", "postMessage('{\"kind\":\"returned\",\"value\":[\"n\",\"666\"]}'); postMessage({ kind: 'returned', value: ['n', '666'] }); return 9", (RETURNED,), "9"),
    ("forges a frame", "console.log('0'.repeat(32) + '.01b{\"at\":\"end\",\"probe\":0}'); return 10", (RETURNED,), "10"),
    ("replaces Reflect and Symbol", "Reflect.ownKeys = () => []; Reflect.getPrototypeOf = () => null; return { b: 2 }", (RETURNED,), '{"b": 2}'),
    ("evaluates text", "return eval('1 + 1') + new Function('return 5')()", (RETURNED,), "7"),
    ("compiles WebAssembly", "return new WebAssembly.Module(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]))", (RAISED,), "WebAssembly"),
    ("closes itself", "self.close(); return 1", (CRASHED,), "close"),
    ("exits", "Deno.exit(0)", (CRASHED,), "exit"),
    ("exits by process", "process.exit(0)", (CRASHED,), "exit"),
    ("aborts", "process.abort()", (RAISED, CRASHED)),
    ("leaves a rejection", "Promise.reject(new Error('later')); await new Promise((ok) => setTimeout(ok, 20)); return 11", (RETURNED,), "11"),
    ("throws from a timer", "setTimeout(() => { throw new Error('later') }, 0); await new Promise((ok) => setTimeout(ok, 20)); return 12", (RETURNED,), "12"),
    ("leaves an interval that never ends", "setInterval(() => { for (;;); }, 0); return 13", (RETURNED,), "13"),
    ("leaves a Worker that never ends", "new Worker('data:text/javascript,for(;;);', { type: 'module' }); return 14", (RETURNED,), "14"),
    ("throws null", "throw null", (RAISED,), "thrown: null"),
    ("throws an object", "throw { code: 1 }", (RAISED,), 'thrown: {"code": 1}'),
    ("throws a proxy", "throw new Proxy({}, { getPrototypeOf() { throw 1 } })", (RAISED,)),
    ("throws with a stack that throws", "const e = new Error('x'); Object.defineProperty(e, 'stack', { get() { throw 1 } }); throw e", (RAISED,)),
    ("returns a proxy that throws", "return new Proxy({}, { ownKeys() { throw 1 } })", (RETURNED,)),
    ("returns a revoked proxy", "const { proxy, revoke } = Proxy.revocable([], {}); revoke(); return [proxy]", (RETURNED,)),
    ("returns getters that throw and never end", "return { get a() { throw 1 }, get b() { for (;;); } }", (RETURNED,), '{"a": [Getter], "b": [Getter]}'),
    ("returns itself", "const a = { b: [] }; a.b.push(a); return a", (RETURNED,), '{"b": [<cycle, 2 up>]}'),
    ("returns what doubles at each level", "let a = []; for (let i = 0; i < 100; i++) a = [a, a]; return a", (RETURNED,)),
    ("returns a nest of arrays", "let a = []; for (let i = 0; i < 100000; i++) a = [a]; return a", (RETURNED,)),
    ("returns an array of holes", "const a = []; a[4294967290] = 1; return a", (RETURNED,)),
)  # fmt: skip

BOMBS = _table(
    ("recurses", "function g() { return g() + 1 } return g()", (RAISED,), "RangeError"),
    ("makes a bigint too big", "return 2n ** (2n ** 40n)", (RAISED, NO_MEMORY), "RangeError"),
    ("returns a huge bigint", "return 2n ** 1000000n", (RETURNED,)),
    ("makes a string too long", "return 'x'.repeat(2 ** 30)", (RAISED,), "RangeError"),
    ("makes a buffer too large", "return new ArrayBuffer(2 ** 40)", (NO_MEMORY,)),
    ("keeps buffers", "const a = []; for (;;) a.push(new Uint8Array(2 ** 24).fill(1))", (NO_MEMORY,)),
    ("keeps shared buffers", "const a = []; for (;;) a.push(new SharedArrayBuffer(2 ** 26))", (NO_MEMORY,)),
    ("keeps arrays", "const a = []; for (;;) a.push(new Array(10000).fill(7))", (NO_MEMORY,)),
    ("floods the console", "for (;;) console.log('x'.repeat(1000))", (FLOOD,)),
    ("floods standard error", "for (;;) console.error('x'.repeat(1000))", (FLOOD,)),
    ("floods a descriptor", "const fs = await import('node:fs'); for (;;) fs.writeSync(2, 'x'.repeat(5000))", (FLOOD,)),
    ("kills itself", "Deno.kill(Deno.pid, 'SIGKILL')", (CRASHED,)),
)  # fmt: skip

ENDLESS = _table(
    ("loops", "for (;;);", (TIMED_OUT,)),
    ("never resolves", "await new Promise(() => {})", (TIMED_OUT,)),
    ("starves the event loop", "const f = () => Promise.resolve().then(f); await f()", (TIMED_OUT, NO_MEMORY)),
    ("backtracks", "return /^(a+)+$/.test('a'.repeat(40) + 'b')", (TIMED_OUT,)),
    ("multiplies bigints", "let b = 3n; for (;;) b *= b", (TIMED_OUT, RAISED)),
    ("waits", "Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)", (TIMED_OUT,)),
    ("stops itself", "Deno.kill(Deno.pid, 'SIGSTOP')", (TIMED_OUT,)),
    ("starts Workers", "for (;;) new Worker('data:text/javascript,for(;;);', { type: 'module' })", (TIMED_OUT, NO_MEMORY, FLOOD, CRASHED)),
    ("posts without end", "for (;;) postMessage('x'.repeat(1e6))", (TIMED_OUT, NO_MEMORY)),
    ("returns a proxy that never ends", "return new Proxy({}, { ownKeys() { for (;;); } })", (TIMED_OUT,)),
    ("reads standard input for ever", "return await Deno.stdin.read(new Uint8Array(1))", (TIMED_OUT,)),
)  # fmt: skip

MODULES = [
    HostileModule("imports a file", "import x from 'file:///etc/passwd';\nfunction f() { return x }", (REFUSED,)),
    HostileModule("imports its neighbour", "import x from './x.ts';\nfunction f() { return x }", (REFUSED,)),
    HostileModule("imports from npm", "import x from 'npm:left-pad';\nfunction f() { return x }", (REFUSED,)),
    HostileModule("imports from the web", "import x from 'https://deno.land/x/a.ts';\nfunction f() { return x }", (REFUSED,)),
    HostileModule("is no program", "function f( {", (NOT_LOADED,), "SyntaxError"),
    HostileModule("throws", "throw new TypeError('at once');\nfunction f() {}", (NOT_LOADED,), "TypeError: at once"),
    HostileModule("exits", "Deno.exit(3);\nfunction f() {}", (CRASHED,), "exit"),
    HostileModule("loops", "for (;;);\nfunction f() {}", (TIMED_OUT,)),
    HostileModule("is a thenable", "export function then(r) { r({ probe: () => 42 }) }\nfunction f() { return 1 }", (RETURNED,), "1"),
    HostileModule("replaces promises", "Promise.prototype.then = function (ok) { ok(42) }; Promise.prototype.constructor = null;\nfunction f() { return 2 }", (RETURNED,), "2"),
    HostileModule("closes the function around it", "function f() { return 3 }\n/*", (NOT_LOADED,)),
]  # fmt: skip

AT_ONCE = FILES + OUTSIDE + TRICKS + BOMBS
FUNCTIONS = AT_ONCE + ENDLESS
