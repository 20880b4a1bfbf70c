"""What source code declares, in every language that has a grammar."""

from __future__ import annotations

import pytest

from shared.source.outline import Function, Kind, outline

PYTHON = '''\
import functools


@functools.cache
async def fetch(url: str, *, retries=2, **options) -> bytes:  # a comment
    """Say."""
    def inner(x, /, y): return x
    return b""


class Stack(list):
    @staticmethod
    def of(*items): return Stack(items)
    def _pop(self): return self.pop()


class _Hidden:
    def seen(self): pass


double = lambda n: n * 2
'''
SCRIPT = """\
export const add = (a, b = 2, ...rest) => a + b;
export default async function (x) { return x }
const tools = { scale(n) { return n }, name: function ({ first }, [second]) {} };
class Kept { #own() {} static async make(q) {} later = (z) => z; }
exports.late = function* (w) {};
function named(u) {}
function unseen() {}
call({ callback: () => 1 });
module.exports = { named, Kept };
"""
TYPESCRIPT = """\
export function first<T>(list: readonly T[], fallback?: T, { deep }: Options = {}): T { return list[0] }
export namespace Geo { export abstract class Shape { constructor(private size: number) {} private area(x: number): void {} } }
export { second };
function second(): void {}
"""
OTHERS = {
    "go": (
        "package p\ntype T struct{}\nfunc (t *T) Get(a, b int, rest ...string) int { return 1 }\nfunc own() {}\n",
        [("T", 2, True), ("T.Get", 3, True), ("own", 4, False)],
    ),
    "java": (
        "public class A {\n  public static int f(int a, final String... b) { return 1; }\n  private void g() {}\n}\n",
        [("A", 1, True), ("A.f", 2, True), ("A.g", 3, False)],
    ),
    "rust": (
        "pub struct P;\nimpl P {\n  pub fn m(&self, mut a: i32) -> i32 { 1 }\n}\nfn f() {}\n",
        [("P", 1, True), ("P.m", 3, True), ("f", 5, False)],
    ),
    "c": (
        "static int *f(int a, char *b[]) { return 0; }\nint main(void) { return 1; }\n",
        [("f", 1, False), ("main", 2, True)],
    ),
    "cpp": (
        "namespace n { class A { int f(int a) const { return a; } }; }\nint n::A::g(const T& s) { return 1; }\n",
        [("n.A", 1, True), ("n.A.f", 1, True), ("n.A.g", 2, True)],
    ),
    "ruby": (
        "module M\n  def f(a, b = 1, *c, d:, **e, &g)\n  end\nend\n",
        [("M", 1, True), ("M.f", 2, True)],
    ),
}


def declared(code: str, language: str) -> dict[str, Function]:
    return {function.qualified: function for function in outline(code, language).functions}


def test_a_function_of_python_is_known_by_name_lines_parameters_and_signature() -> None:
    fetch = declared(PYTHON, "py")["fetch"]
    assert fetch == Function(
        name="fetch",
        qualified="fetch",
        parameters=("url", "*", "retries", "**options"),
        signature="@functools.cache\nasync def fetch(url: str, *, retries=2, **options) -> bytes:",
        kind=Kind.FUNCTION,
        first_line=4,
        last_line=8,
        is_async=True,
        is_exported=True,
    )


def test_python_declares_functions_methods_classes_and_named_lambdas() -> None:
    found = declared(PYTHON, "python")
    assert [(name, str(one.kind), one.is_exported) for name, one in found.items()] == [
        ("fetch", "function", True),
        ("fetch.inner", "function", False),
        ("Stack", "class", True),
        ("Stack.of", "method", True),
        ("Stack._pop", "method", False),
        ("_Hidden", "class", False),
        ("_Hidden.seen", "method", False),
        ("double", "function", True),
    ]
    assert found["fetch.inner"].parameters == ("x", "/", "y")
    assert found["Stack.of"].first_line == 12


def test_scripts_declare_what_is_given_a_name_however_it_is_given() -> None:
    found = declared(SCRIPT, "js")
    assert [(name, str(one.kind), one.is_exported, one.parameters) for name, one in found.items()] == [
        ("add", "function", True, ("a", "b", "...rest")),
        ("default", "function", True, ("x",)),
        ("tools.scale", "method", False, ("n",)),
        ("tools.name", "method", False, ("{ first }", "[second]")),
        ("Kept", "class", True, ()),
        ("Kept.#own", "method", False, ()),
        ("Kept.make", "method", True, ("q",)),
        ("Kept.later", "method", True, ("z",)),
        ("late", "function", True, ("w",)),
        ("named", "function", True, ("u",)),
        ("unseen", "function", False, ()),
    ]
    assert found["add"].signature == "export const add = (a, b = 2, ...rest) =>"
    assert found["default"].is_async
    assert found["Kept.make"].is_async


def test_typescript_keeps_its_types_in_the_signature() -> None:
    found = declared(TYPESCRIPT, "TypeScript")
    assert found["first"].signature == (
        "export function first<T>(list: readonly T[], fallback?: T, { deep }: Options = {}): T"
    )
    assert found["first"].parameters == ("list", "fallback", "{ deep }")
    assert [(name, one.is_exported) for name, one in found.items()] == [
        ("first", True),
        ("Geo.Shape", True),
        ("Geo.Shape.constructor", True),
        ("Geo.Shape.area", False),
        ("second", True),
    ]


@pytest.mark.parametrize("language", OTHERS)
def test_other_languages_declare_with_lines_and_exports(language: str) -> None:
    code, expected = OTHERS[language]
    found = outline(code, language)
    assert [(one.qualified, one.first_line, one.is_exported) for one in found.functions] == expected
    assert found.fault_lines == ()


def test_tsx_is_read_where_typescript_is_said() -> None:
    found = outline("export const App = (p: Props) => <main title={`a`}>text // no comment</main>;\n", "typescript")
    assert [one.name for one in found.functions] == ["App"]
    assert found.fault_lines == ()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_counted_alike_whatever_ends_them(end: str) -> None:
    code = end.join(["x = 1", "# Ä🙂", "def f():", "    return (", "        1)", "", "def g(): pass", "def h(:"])
    found = outline(code, "python")
    assert [(one.name, one.first_line, one.last_line) for one in found.functions[:2]] == [("f", 3, 5), ("g", 7, 7)]
    assert set(found.fault_lines) <= {7, 8}
    assert found.fault_lines


def test_a_language_without_a_grammar_has_an_empty_outline() -> None:
    assert outline("PROCEDURE DIVISION.", "cobol").functions == ()
