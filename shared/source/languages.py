"""Names of programming languages: what people write, the one name that stands for it, and what can be done with it."""

from __future__ import annotations

from pathlib import PurePath

LONGEST_NAME = 40
RUNNABLE = frozenset({"python", "javascript", "typescript"})
"""What a sandbox can run."""
PARSEABLE = RUNNABLE | {"go", "java", "rust", "c", "cpp", "ruby"}
"""What there is a grammar for."""

_OTHER_NAMES = {
    "py": "python",
    "py3": "python",
    "python3": "python",
    "cpython": "python",
    "js": "javascript",
    "jsx": "javascript",
    "mjs": "javascript",
    "cjs": "javascript",
    "node": "javascript",
    "nodejs": "javascript",
    "node.js": "javascript",
    "ecmascript": "javascript",
    "javascriptreact": "javascript",
    "ts": "typescript",
    "tsx": "typescript",
    "mts": "typescript",
    "cts": "typescript",
    "typescriptreact": "typescript",
    "golang": "go",
    "rs": "rust",
    "rb": "ruby",
    "c++": "cpp",
    "cxx": "cpp",
    "cc": "cpp",
    "h": "c",
    "hpp": "cpp",
    "c#": "csharp",
    "cs": "csharp",
    "kt": "kotlin",
    "sh": "shell",
    "bash": "shell",
}
_SUFFIXES = {
    ".py": "python",
    ".pyw": "python",
    ".js": "javascript",
    ".mjs": "javascript",
    ".cjs": "javascript",
    ".jsx": "javascript",
    ".ts": "typescript",
    ".mts": "typescript",
    ".cts": "typescript",
    ".tsx": "typescript",
    ".go": "go",
    ".java": "java",
    ".rs": "rust",
    ".c": "c",
    ".h": "c",
    ".cc": "cpp",
    ".cpp": "cpp",
    ".cxx": "cpp",
    ".hh": "cpp",
    ".hpp": "cpp",
    ".rb": "ruby",
}
_SUFFIX_OF = {
    "python": ".py",
    "javascript": ".js",
    "typescript": ".ts",
    "go": ".go",
    "java": ".java",
    "rust": ".rs",
    "c": ".c",
    "cpp": ".cpp",
    "ruby": ".rb",
}


def canonical(name: str) -> str:
    """Return the one name of a language; one that we do not know stays as given, without what cannot be printed.

    At most 40 characters; empty if nothing printable is left.
    """
    shown = "".join(char for char in name[: 4 * LONGEST_NAME] if char.isprintable()).strip()[:LONGEST_NAME].strip()
    lower = shown.lower()
    if lower in PARSEABLE:
        return lower
    return _OTHER_NAMES.get(lower, shown)


def can_be_parsed(language: str) -> bool:
    """Tell whether there is a grammar for the language, by any of its names."""
    return canonical(language) in PARSEABLE


def can_be_run(language: str) -> bool:
    """Tell whether a sandbox can run the language, by any of its names."""
    return canonical(language) in RUNNABLE


def language_of(path: str) -> str | None:
    """Return the language that a file's name tells; None where it tells none that we can read."""
    return _SUFFIXES.get(PurePath(path).suffix.lower())


def suffix_of(language: str) -> str:
    """Return how names of files in the language end, with the dot; `.txt` where we do not know."""
    return _SUFFIX_OF.get(canonical(language), ".txt")
