"""What experience asks of code in a domain: 18 groups of constraints, found by whole words in the task.

A word is met as a word only: "api" is not in "rapid", nor "db" in "feedback". A rule that names languages is for those alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from shared.verification.items import ConstraintType

_SCRIPT = frozenset({"javascript", "typescript"})
_PYTHON = frozenset({"python"})
_MUST, _MUST_NOT, _PREFER = ConstraintType.MUST, ConstraintType.MUST_NOT, ConstraintType.PREFER


@dataclass(frozen=True)
class Rule:
    """One constraint. `languages`: None for all. `examples`: how it looks in a language's code."""

    type: ConstraintType
    description: str
    languages: frozenset[str] | None = None
    examples: Mapping[str, str] = field(default_factory=dict)

    def is_for(self, language: str) -> bool:
        """Say whether the rule makes sense in `language`."""
        return self.languages is None or language in self.languages


@dataclass(frozen=True)
class Pattern:
    """One domain: the words that announce it, and its rules."""

    domain: str
    words: tuple[str, ...]
    rules: tuple[Rule, ...]


def matching(text: str, language: str) -> list[Rule]:
    """Return the rules for `language` of every domain that `text` names, in the table's order."""
    return [
        rule
        for pattern in PATTERNS
        if _finder(pattern.words).search(text) is not None
        for rule in pattern.rules
        if rule.is_for(language)
    ]


@cache
def _finder(words: tuple[str, ...]) -> re.Pattern[str]:
    spelt = "|".join(r"[\s-]+".join(map(re.escape, word.split())) for word in words)
    return re.compile(rf"(?<![^\W_])(?:{spelt})(?![^\W_])", re.IGNORECASE)


def _both(example: str) -> dict[str, str]:
    return {"javascript": example, "typescript": example}


PATTERNS: tuple[Pattern, ...] = (
    Pattern(
        "sql",
        ("sql", "sqlite", "postgres", "postgresql", "mysql", "database", "databases", "db", "query builder"),
        (
            Rule(
                _MUST,
                "Pass values to SQL as bound parameters.",
                examples={
                    "python": 'cursor.execute("SELECT name FROM users WHERE id = ?", (user_id,))',
                    **_both('db.query("SELECT name FROM users WHERE id = $1", [userId])'),
                },
            ),
            Rule(_MUST_NOT, "Build SQL by joining or formatting strings with values."),
        ),
    ),
    Pattern(
        "authentication",
        ("auth", "authentication", "authorization", "login", "log in", "password", "passwords", "session token", "jwt"),
        (
            Rule(_MUST, "Refuse when a credential is missing, malformed or expired."),
            Rule(
                _MUST,
                "Compare secrets in constant time.",
                examples={
                    "python": "hmac.compare_digest(given, expected)",
                    **_both("crypto.timingSafeEqual(given, expected)"),
                },
            ),
            Rule(_MUST_NOT, "Store, log or return a password or token in clear text."),
        ),
    ),
    Pattern(
        "cryptography",
        ("crypto", "cryptography", "encrypt", "encryption", "decrypt", "hmac", "cipher", "random token", "nonce"),
        (
            Rule(
                _MUST,
                "Take secret random values from a cryptographic source.",
                examples={"python": "secrets.token_hex(32)", **_both("crypto.getRandomValues(new Uint8Array(32))")},
            ),
            Rule(_MUST_NOT, "Use MD5 or SHA-1 where collisions or forgery matter."),
            Rule(_MUST_NOT, "Use Math.random for anything secret.", languages=_SCRIPT),
            Rule(_MUST_NOT, "Use the random module for anything secret.", languages=_PYTHON),
        ),
    ),
    Pattern(
        "http",
        (
            "http",
            "https",
            "api",
            "apis",
            "endpoint",
            "endpoints",
            "rest",
            "webhook",
            "webhooks",
            "fetch",
            "url",
            "urls",
        ),
        (
            Rule(_MUST, "Check the status of a response before its body is used."),
            Rule(_MUST, "Set a timeout on every request."),
            Rule(
                _MUST,
                "Escape what is put into a URL.",
                examples={"python": "urllib.parse.quote(value, safe='')", **_both("encodeURIComponent(value)")},
            ),
        ),
    ),
    Pattern(
        "rate limiting",
        (
            "rate limiter",
            "rate limit",
            "rate limiting",
            "throttle",
            "throttling",
            "debounce",
            "token bucket",
            "sliding window",
        ),
        (
            Rule(_MUST, "Forget what lies outside the window, so that memory stays bounded."),
            Rule(_MUST, "Count exactly at the limit: the last call allowed is allowed, the next one is not."),
            Rule(_PREFER, "Take the time as an argument or from one place, so that it can be tested."),
            Rule(
                _PREFER,
                "Use a monotonic clock for intervals.",
                examples={"python": "time.monotonic()", **_both("performance.now()")},
            ),
        ),
    ),
    Pattern(
        "caching",
        ("cache", "caches", "cached", "caching", "lru", "lfu", "ttl", "memoize", "memoization", "memoise"),
        (
            Rule(_MUST, "Bound the size of the cache, or say when an entry leaves it."),
            Rule(_MUST, "Tell a stored empty or false value from a missing one."),
            Rule(_PREFER, "Use Map, which keeps insertion order, rather than a plain object.", languages=_SCRIPT),
            Rule(_PREFER, "Use collections.OrderedDict, or a dict's own order, for recency.", languages=_PYTHON),
        ),
    ),
    Pattern(
        "counters",
        (
            "counter",
            "counters",
            "count",
            "counts",
            "counting",
            "increment",
            "decrement",
            "tally",
            "frequency",
            "frequencies",
        ),
        (
            Rule(_MUST, "Start at zero, and give zero for empty input."),
            Rule(_MUST_NOT, "Be off by one at the first or the last element."),
        ),
    ),
    Pattern(
        "collections",
        (
            "list",
            "lists",
            "array",
            "arrays",
            "set",
            "sets",
            "map",
            "dict",
            "dictionary",
            "collection",
            "collections",
            "tuple",
            "items",
            "elements",
        ),
        (
            Rule(_MUST, "Handle an empty collection, and one with a single element."),
            Rule(_MUST_NOT, "Change the caller's collection unless the task says so."),
            Rule(
                _MUST_NOT,
                "Use a mutable default argument.",
                languages=_PYTHON,
                examples={"python": "def f(items=None): ..."},
            ),
            Rule(
                _MUST,
                "Sort numbers with a comparison function.",
                languages=_SCRIPT,
                examples=_both("[...numbers].sort((a, b) => a - b)"),
            ),
        ),
    ),
    Pattern(
        "sorting and searching",
        (
            "sort",
            "sorts",
            "sorted",
            "sorting",
            "search",
            "searches",
            "binary search",
            "rank",
            "order by",
            "top k",
            "kth",
        ),
        (
            Rule(_MUST, "Say what happens to equal elements; keep their order where the task does not care."),
            Rule(_MUST, "Handle a target that is not there."),
            Rule(_MUST_NOT, "Loop for ever where the range shrinks to one element."),
        ),
    ),
    Pattern(
        "parsing",
        (
            "parse",
            "parses",
            "parser",
            "parsing",
            "json",
            "csv",
            "xml",
            "yaml",
            "tokenize",
            "tokenizer",
            "decode",
            "deserialize",
        ),
        (
            Rule(_MUST, "Reject malformed input with a clear error, and say where it is malformed when that is known."),
            Rule(
                _MUST_NOT, "Evaluate input as code.", examples={"python": "ast.literal_eval(text)  # never eval(text)"}
            ),
            Rule(
                _MUST,
                "Catch what JSON.parse throws.",
                languages=_SCRIPT,
                examples=_both("try { value = JSON.parse(text) } catch (error) { … }"),
            ),
        ),
    ),
    Pattern(
        "text",
        (
            "string",
            "strings",
            "text",
            "word",
            "words",
            "slug",
            "slugify",
            "unicode",
            "character",
            "characters",
            "palindrome",
            "title",
            "substring",
        ),
        (
            Rule(_MUST, "Handle the empty string, and one of white space only."),
            Rule(_PREFER, "Compare text without regard to case only where the task says so."),
            Rule(
                _PREFER,
                "Walk characters by code point, not by UTF-16 unit.",
                languages=_SCRIPT,
                examples=_both("[...text]"),
            ),
        ),
    ),
    Pattern(
        "regular expressions",
        (
            "regex",
            "regexp",
            "regular expression",
            "regular expressions",
            "pattern matching",
            "email address",
            "wildcard",
            "glob",
        ),
        (
            Rule(
                _MUST,
                "Match the whole input where the task speaks of the whole.",
                examples={"python": "re.fullmatch(pattern, text)"},
            ),
            Rule(_MUST_NOT, "Nest unbounded repetitions, which take exponential time."),
        ),
    ),
    Pattern(
        "files",
        (
            "file",
            "files",
            "filename",
            "filenames",
            "directory",
            "directories",
            "folder",
            "path",
            "paths",
            "upload",
            "uploads",
        ),
        (
            Rule(_MUST, "Keep paths made from input inside the directory that is meant."),
            Rule(_MUST, "Name the encoding of text files.", examples={"python": 'path.read_text(encoding="utf-8")'}),
            Rule(
                _MUST,
                "Close files on every way out.",
                languages=_PYTHON,
                examples={"python": "with path.open() as file: ..."},
            ),
        ),
    ),
    Pattern(
        "money and floats",
        (
            "money",
            "price",
            "prices",
            "currency",
            "amount",
            "invoice",
            "tax",
            "interest",
            "discount",
            "balance",
            "float",
            "floats",
            "decimal",
            "percentage",
            "average",
            "mean",
            "median",
            "round",
            "rounding",
        ),
        (
            Rule(_MUST, "Say how results are rounded, and round once, at the end."),
            Rule(_MUST_NOT, "Divide by zero: decide what an empty or zero divisor gives."),
            Rule(_PREFER, "Keep money in whole minor units or in Decimal, not in floats.", languages=_PYTHON),
            Rule(_PREFER, "Keep money in whole minor units, not in fractions of a number.", languages=_SCRIPT),
        ),
    ),
    Pattern(
        "dates and times",
        (
            "date",
            "dates",
            "time",
            "timestamp",
            "timestamps",
            "timezone",
            "calendar",
            "duration",
            "leap year",
            "deadline",
            "schedule",
        ),
        (
            Rule(
                _MUST,
                "Say which time zone is meant; keep instants in UTC.",
                examples={"python": "datetime.now(tz=UTC)"},
            ),
            Rule(_MUST, "Handle leap years and the ends of months."),
            Rule(_MUST, "Remember that a Date's months count from 0.", languages=_SCRIPT),
        ),
    ),
    Pattern(
        "asynchronous work",
        (
            "async",
            "asynchronous",
            "await",
            "promise",
            "promises",
            "concurrent",
            "concurrency",
            "parallel",
            "queue worker",
            "retry",
            "retries",
        ),
        (
            Rule(_MUST, "Let errors of asynchronous work reach the caller."),
            Rule(_MUST, "Bound the number of retries and of parallel tasks."),
            Rule(_MUST_NOT, "Leave a promise without await or catch.", languages=_SCRIPT),
            Rule(_MUST_NOT, "Block the event loop.", languages=_PYTHON),
        ),
    ),
    Pattern(
        "recursion and graphs",
        (
            "recursive",
            "recursion",
            "tree",
            "trees",
            "graph",
            "graphs",
            "traverse",
            "traversal",
            "dfs",
            "bfs",
            "nested",
            "flatten",
            "linked list",
        ),
        (
            Rule(_MUST, "End on the empty structure."),
            Rule(_MUST, "Guard against cycles where the structure may have them."),
            Rule(_PREFER, "Use a loop with a stack of its own where depth comes from input."),
        ),
    ),
    Pattern(
        "validation",
        (
            "validate",
            "validates",
            "validation",
            "validator",
            "sanitize",
            "sanitise",
            "user input",
            "html",
            "escape",
            "form",
        ),
        (
            Rule(_MUST, "Check type and range of input before it is used."),
            Rule(_MUST, "Escape text for where it goes, HTML included.", examples={"python": "html.escape(text)"}),
            Rule(_MUST_NOT, "Repair invalid input in silence."),
        ),
    ),
)
