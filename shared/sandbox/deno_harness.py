"""The trusted JavaScript around submitted code: what runs in deno's main thread, and what runs in each Worker before the code does.

`MAIN` holds no permission that the Workers lack; it only starts them. What a Worker's harness tells travels over a MessagePort that the
submitted code never sees, and leaves the process in frames that begin with a nonce which only the main thread was told. The Worker's
harness takes what it needs from the language before the code is loaded, so that a changed prototype changes the code's own results only.
What hostile code can still falsify is what its own calls give: it is the code that computes them.

Values travel as nested arrays `[tag, …]`; `shared.sandbox.deno_values` reads them.
"""

from __future__ import annotations

VALUES = r"""
const capture = (() => {
  const { bind, call } = Function.prototype;
  return bind.bind(call);
})();
const { apply, getOwnPropertyDescriptor, getPrototypeOf, ownKeys } = Reflect;
const getter = (prototype, name) => capture(getOwnPropertyDescriptor(prototype, name).get);
const method = (prototype, name) => capture(prototype[name]);
const quote = JSON.stringify;
const toStringTag = Symbol.toStringTag;
const isArray = Array.isArray;
const isView = ArrayBuffer.isView;
const defineProperty = Object.defineProperty;
const Bytes = Uint8Array;
const TypedArray = getPrototypeOf(Uint8Array);
const slice = method(String.prototype, "slice");
const indexOf = method(String.prototype, "indexOf");
const symbolText = method(Symbol.prototype, "toString");
const dateTime = method(Date.prototype, "getTime");
const dateText = method(Date.prototype, "toISOString");
const patternText = method(RegExp.prototype, "toString");
const mapEach = method(Map.prototype, "forEach");
const setEach = method(Set.prototype, "forEach");
const typedLength = getter(TypedArray.prototype, "length");
const bufferLength = getter(ArrayBuffer.prototype, "byteLength");
const tooBig = 10n ** 4000n;
const prototypes = {
  __proto__: null,
  object: Object.prototype, array: Array.prototype, map: Map.prototype, set: Set.prototype, date: Date.prototype,
  pattern: RegExp.prototype, error: Error.prototype, typed: TypedArray.prototype, buffer: ArrayBuffer.prototype,
  promise: Promise.prototype,
};
// Built-in objects whose content is not in their fields: two of them cannot be compared by what can be seen.
const opaques = [
  Number, String, Boolean, Symbol, BigInt, Promise, WeakMap, WeakSet, WeakRef, DataView, SharedArrayBuffer, URL, URLSearchParams,
  Headers, Request, Response, Blob, AbortController, AbortSignal, MessagePort, ReadableStream, Function,
].map((built) => built.prototype);
const Iterated = getPrototypeOf(getPrototypeOf([][Symbol.iterator]()));  // what every iterator and generator derives from
opaques.push(getPrototypeOf(getPrototypeOf(async function* () {}.prototype)));
const opaqueCount = opaques.length;
Object.freeze(opaques);

const MOST_NODES = 20000;
const MOST_DEPTH = 100;
const MOST_CHARS = 200000;
const MOST_YIELDED = 200;

function within(value, prototype) {
  let at = getPrototypeOf(value);
  for (let steps = 0; at !== null && steps < 50; steps++) {
    if (at === prototype) return true;
    at = getPrototypeOf(at);
  }
  return false;
}

function isOpaque(value) {
  for (let at = 0; at < opaqueCount; at++) if (within(value, opaques[at])) return true;
  return false;
}

function field(value, name) {
  let at = value;
  for (let steps = 0; at !== null && steps < 50; steps++) {
    const found = getOwnPropertyDescriptor(at, name);
    if (found !== undefined) return "value" in found ? found.value : undefined;
    at = getPrototypeOf(at);
  }
  return undefined;
}

// The name of the class, "" for a plain object and for one without a prototype.
function className(value) {
  const prototype = getPrototypeOf(value);
  if (prototype === null || prototype === prototypes.object || prototype === prototypes.array) return "";
  const made = field(prototype, "constructor");
  const name = typeof made === "function" ? field(made, "name") : undefined;
  return typeof name === "string" ? slice(name, 0, 100) : "?";
}

function encode(value) {
  let nodes = 0;
  let chars = 0;
  let failed = null;  // what an iterator of the code threw
  const text = (string) => {
    chars += string.length;
    return quote(chars > MOST_CHARS ? slice(string, 0, 2000) : string);
  };
  const known = (tag, string) => '["' + tag + '",' + text(string) + "]";
  const all = (each) => {  // joins what `each` hands over, without any method of arrays
    let joined = "";
    each((node) => { joined += (joined === "" ? "" : ",") + node; });
    return "[" + joined + "]";
  };
  const fields = (object, under, depth) => all((add) => {
    const keys = ownKeys(object);
    for (let at = 0; at < keys.length && nodes < MOST_NODES; at++) {
      const found = getOwnPropertyDescriptor(object, keys[at]);
      if (found === undefined || !found.enumerable) continue;
      const name = typeof keys[at] === "symbol" ? "[" + symbolText(keys[at]) + "]" : keys[at];
      add("[" + text(name) + "," + ("value" in found ? node(found.value, under, depth) : '["x","[Getter]"]') + "]");
    }
    if (nodes >= MOST_NODES) add('["…",["…"]]');
  });
  const items = (array, under, depth) => all((add) => {
    for (let at = 0; at < array.length; at++) {
      if (nodes >= MOST_NODES) { add('["…"]'); break; }
      const found = getOwnPropertyDescriptor(array, at);
      if (found === undefined) { nodes++; add('["h"]'); }
      else add("value" in found ? node(found.value, under, depth) : '["x","[Getter]"]');
    }
  });
  const numbers = (array, length) => all((add) => {
    for (let at = 0; at < length; at++) {
      if (nodes++ >= MOST_NODES) { add('["…"]'); break; }
      add(number(array[at]));
    }
  });
  // What an iterator gives: the code's own steps, which may throw as any call of it may.
  const yielded = (iterator, under, depth) => all((add) => {
    for (let count = 0; failed === null; count++) {
      let item;
      try {
        const step = iterator.next();
        if (step.done) return;
        item = step.value;
      } catch (thrown) {
        failed = { __proto__: null, thrown };
        return;
      }
      if (count === MOST_YIELDED || nodes >= MOST_NODES) { add('["…"]'); return; }
      add(node(item, under, depth));
    }
  });
  const number = (value) => typeof value === "bigint"
    ? (value > tooBig || value < -tooBig ? '["x","[a bigint of more than 4000 digits]"]' : '["b","' + value + '"]')
    : value === 0 && 1 / value < 0 ? '["n","-0"]' : '["n","' + value + '"]';
  const object = (value, above, depth) => {
    for (let at = above, up = 1; at !== null; at = at.above, up++) if (at.value === value) return '["c",' + up + "]";
    if (depth > MOST_DEPTH) return '["…"]';
    const under = { __proto__: null, value, above };
    const name = quote(className(value));
    if (isArray(value)) return '["a",' + name + "," + items(value, under, depth + 1) + "]";
    if (within(value, prototypes.map)) {
      return '["m",' + name + "," + all((add) => mapEach(value, (item, key) => {
        if (nodes < MOST_NODES) add("[" + node(key, under, depth + 1) + "," + node(item, under, depth + 1) + "]");
        else if (nodes++ === MOST_NODES) add('[["…"],["…"]]');
      })) + "]";
    }
    if (within(value, prototypes.set)) {
      return '["S",' + name + "," + all((add) => setEach(value, (item) => {
        if (nodes < MOST_NODES) add(node(item, under, depth + 1));
        else if (nodes++ === MOST_NODES) add('["…"]');
      })) + "]";
    }
    if (within(value, prototypes.date)) {
      const time = dateTime(value);
      return '["d",' + quote(time === time ? dateText(value) : "Invalid Date") + "]";
    }
    if (within(value, prototypes.pattern)) return known("r", patternText(value));
    if (within(value, prototypes.error)) {
      const message = field(value, "message");
      const own = field(value, "name");
      return '["e",' + (typeof own === "string" ? text(own) : name) + "," + (typeof message === "string" ? text(message) : '""') + "]";
    }
    if (isView(value) && within(value, prototypes.typed)) return '["y",' + name + "," + numbers(value, typedLength(value)) + "]";
    if (within(value, prototypes.buffer)) {
      return '["y",' + name + "," + numbers(new Bytes(value), bufferLength(value)) + "]";
    }
    if (within(value, Iterated) && typeof value.next === "function") {
      const tag = field(value, toStringTag);
      const kind = quote(typeof tag === "string" ? slice(tag, 0, 100) : className(value));
      return '["i",' + kind + "," + yielded(value, under, depth + 1) + "]";
    }
    if (isOpaque(value)) {
      const tag = field(value, toStringTag);
      return known("x", "[" + (typeof tag === "string" ? slice(tag, 0, 100) : className(value)) + "]");
    }
    return '["o",' + name + "," + fields(value, under, depth + 1) + "]";
  };
  const node = (value, above, depth) => {
    nodes++;
    if (nodes > MOST_NODES || chars > MOST_CHARS) return '["…"]';
    switch (typeof value) {
      case "undefined": return '["u"]';
      case "boolean": return value ? '["t"]' : '["f"]';
      case "string": return chars + value.length > MOST_CHARS ? '["…",' + quote(slice(value, 0, 500)) + "]" : known("s", value);
      case "number": case "bigint": return number(value);
      case "symbol": return known("x", symbolText(value));
      case "function": {
        const name = field(value, "name");
        return known("x", "[Function: " + (typeof name === "string" ? slice(name, 0, 100) : "") + "]");
      }
    }
    if (value === null) return '["0"]';
    try {
      return object(value, above, depth);
    } catch {
      return '["x","[an object that cannot be looked at]"]';
    }
  };
  const encoded = node(value, null, 0);
  if (failed !== null) throw failed.thrown;
  return encoded;
}
"""

WORKER = r"""
const then = capture(Promise.prototype.then);
const postOn = capture(MessagePort.prototype.postMessage);
const seal = (promise) => {  // so that `then` asks neither a constructor nor a species that the code may have changed
  try { defineProperty(promise, "constructor", { __proto__: null, value: undefined, configurable: true }); } catch { /* frozen */ }
  return promise;
};

function failure(kind, thrown) {
  try {
    if (typeof thrown !== "object" || thrown === null || !within(thrown, prototypes.error)) {
      return '{"kind":"' + kind + '","thrown":' + encode(thrown) + "}";
    }
    const message = field(thrown, "message");
    const own = field(thrown, "name");
    let names = quote(typeof own === "string" ? slice(own, 0, 100) : className(thrown));
    for (let at = thrown, steps = 0; steps < 10; steps++) {
      at = getPrototypeOf(at);
      if (at === null || at === prototypes.object) break;
      const made = field(at, "constructor");
      const name = typeof made === "function" ? field(made, "name") : undefined;
      if (typeof name === "string") names += "," + quote(slice(name, 0, 100));
    }
    return '{"kind":"' + kind + '","names":[' + names + '],"message":' + quote(typeof message === "string" ? slice(message, 0, 2000) : "")
      + ',"frame":' + quote(topFrame(thrown)) + "}";
  } catch {
    return '{"kind":"' + kind + '","thrown":["x","[an object that cannot be looked at]"]}';
  }
}

function topFrame(thrown) {
  const found = getOwnPropertyDescriptor(thrown, "stack");
  const stack = found === undefined ? "" : "value" in found ? found.value : apply(found.get, thrown, []);
  if (typeof stack !== "string") return "";
  const at = indexOf(stack, "\n    at ");
  if (at < 0) return "";
  const rest = slice(stack, at + 8, at + 600);
  const end = indexOf(rest, "\n");
  return end < 0 ? rest : slice(rest, 0, end);
}

function serve(event) {
  const { port, url, isLast } = event.data;
  if (isLast) removeEventListener("message", serve);
  const tell = (text) => postOn(port, text);
  const raised = (thrown) => tell(failure("raised", thrown));
  const returned = (value) => {
    let text;
    try { text = encode(value); } catch (thrown) { raised(thrown); return; }
    tell('{"kind":"returned","value":' + text + "}");
  };
  const leave = (how) => function () {
    tell('{"kind":"left","how":"' + how + '"}');
    throw new Error(how);
  };
  globalThis.close = leave("close()");
  Deno.exit = leave("Deno.exit()");
  delete Deno[Deno.internal];  // the runtime's own operations
  globalThis.module = { exports: {} };
  globalThis.exports = globalThis.module.exports;
  globalThis.require = function (name) {
    const refused = new Error("require(" + quote("" + name) + "): there are no modules here");
    refused.name = "NotCapable";
    throw refused;
  };
  for (const stray of ["error", "unhandledrejection"]) {
    addEventListener(stray, (event) => {
      event.preventDefault();
      console.error("Uncaught", stray === "error" ? event.error : event.reason);
    });
  }
  tell("loading");
  then(seal(import(url)), (module) => {
    let value;
    tell("calling");
    try { value = module.probe(); } catch (thrown) { raised(thrown); return; }
    try {
      if (typeof value === "object" && value !== null && within(value, prototypes.promise)) {
        then(seal(value), returned, raised);
        return;
      }
    } catch { /* no promise after all */ }
    returned(value);
  }, (thrown) => tell(failure("unloaded", thrown)));
}
addEventListener("message", serve);
"""

MAIN = r"""
const bytes = new TextEncoder();
const text = new TextDecoder();
async function take(count) {
  const taken = new Uint8Array(count);
  for (let at = 0; at < count;) {
    const more = await Deno.stdin.read(taken.subarray(at));
    if (more === null) Deno.exit(0);
    at += more;
  }
  return taken;
}
const job = JSON.parse(text.decode(await take(parseInt(text.decode(await take(8)), 16))));
Deno.stdin.read(new Uint8Array(1)).then(() => Deno.exit(0));  // who asked has gone

function send(frame) {  // in pieces that a pipe takes whole: nothing that the code prints can come in between
  const whole = bytes.encode(JSON.stringify(frame));
  for (let at = 0; at < whole.length; at += 3900) {
    const piece = whole.subarray(at, at + 3900);
    const head = bytes.encode(job.nonce + (at + 3900 < whole.length ? "+" : ".") + piece.length.toString(16).padStart(3, "0"));
    const out = new Uint8Array(head.length + piece.length);
    out.set(head);
    out.set(piece, head.length);
    for (let done = 0; done < out.length;) done += Deno.stdout.writeSync(out.subarray(done));
  }
}

function dataUrl(type, source) {
  return `data:${type};charset=utf-8;base64,` + bytes.encode(source).toBase64();
}
const PLAIN = "application/javascript";
const workerUrl = dataUrl(PLAIN, job.worker);

function moduleOf(type, code, setup, call) {
  const name = "probe_" + crypto.randomUUID().replaceAll("-", "");
  const kind = /\bawait\b/.test(setup + call) ? "async " : "";
  const inner = `${code}\n;export const ${name} = ${kind}() => {\n${setup}\n;return (\n${call}\n);};\n`;
  return dataUrl(PLAIN, `export { ${name} as probe } from "${dataUrl(type, inner)}";`);
}

function aloneOf(type, code) {
  return dataUrl(PLAIN, `import "${dataUrl(type, code)}"; export const probe = () => undefined;`);
}

const newWorker = () => new Worker(workerUrl, { type: "module", deno: { permissions: "none" } });

// What a Worker answers about one module. One that is to see another module afterwards never sees submitted code.
async function answerOf(worker, url, { isLast, loading = () => {} }) {
  const { port1, port2 } = new MessageChannel();
  let began = performance.now();
  try {
    return await new Promise((resolve) => {
      const done = (answer) => resolve({ ...answer, ms: performance.now() - began });
      port1.onmessage = (event) => {
        if (event.data === "loading") loading();
        else if (event.data !== "calling") return done(JSON.parse(event.data));
        began = performance.now();
      };
      worker.onerror = (event) => {
        event.preventDefault();
        done({ kind: "lost", message: String(event.message).slice(0, 500) });
      };
      worker.postMessage({ port: port2, url, isLast }, [port2]);
    });
  } finally {
    port1.close();
  }
}

async function meet(url, loading) {
  const worker = newWorker();
  try {
    return await answerOf(worker, url, { isLast: true, loading });
  } finally {
    worker.terminate();
  }
}

const isSyntax = (answer) => answer.kind === "unloaded"
  && ((answer.names ?? []).includes("SyntaxError") || (answer.message ?? "").startsWith("SyntaxError: "));
const values = new Map();
let apart = null;  // the Worker that expected values are made in

async function expectedOf(at, expected) {
  if (expected === null) return null;
  if (!values.has(expected)) {
    send({ at: "expected", probe: at });
    let answer;
    try {
      if (expected.includes("__proto__")) throw new SyntaxError();
      answer = { kind: "returned", value: JSON.parse(encode(JSON.parse(expected))) };
    } catch {
      apart ??= newWorker();
      answer = await answerOf(apart, moduleOf(LANGUAGE, "", "", expected), { isLast: false });
      if (answer.kind === "lost") apart = null;
    }
    values.set(expected, answer);
  }
  return values.get(expected);
}

// What the code gives to a call when it is read as `type`. Where only the probe's own text is no syntax, the probe is misread.
async function given(type, at, setup, call) {
  const loading = () => send({ at: "code", probe: at });
  send({ at: "starting", probe: at });
  const answer = await meet(moduleOf(type, job.code, setup, call), loading);
  if (!isSyntax(answer)) return answer;
  send({ at: "starting", probe: at });
  const alone = await meet(aloneOf(type, job.code), loading);
  return alone.kind === "unloaded" ? alone : { ...answer, kind: "misread" };
}

const LANGUAGE = `application/${job.language}`;
const WITH_ELEMENTS = job.language === "typescript" ? "text/tsx" : "text/jsx";
// As what the code is read: as its language, and if it is none, with elements in it, where something looks like one.
let types = /<[A-Za-z>]/.test(job.code) ? [LANGUAGE, WITH_ELEMENTS] : [LANGUAGE];

async function answerTo(at, setup, call) {
  let first = null;
  for (const type of types) {
    const answer = await given(type, at, setup, call);
    if (!isSyntax(answer)) {
      types = [type];
      return type === WITH_ELEMENTS ? { ...answer, hasElements: true } : answer;
    }
    first ??= answer;
  }
  types = [LANGUAGE];
  return first;
}

send({ at: "ready" });
for (const { at, call, setup, expected } of job.probes) {
  const wanted = await expectedOf(at, expected);
  let answer = null;
  if (wanted === null || wanted.kind === "returned") {
    answer = await answerTo(at, setup, call);
  }
  send({ at: "end", probe: at, answer, expected: wanted });
}
Deno.exit(0);
"""
