"""What the database room hands out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_MARK = re.compile(r"^-- name: ([a-z_]+)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Queries:
    """The named statements of one `queries.sql`: `-- name: claim` starts the statement `queries["claim"]`."""

    statements: dict[str, str]

    @classmethod
    def beside(cls, store_file: str) -> Queries:
        """Read the `queries.sql` that lies beside `store_file` (pass `__file__`)."""
        parts = _MARK.split(Path(store_file).with_name("queries.sql").read_text(encoding="utf-8"))
        names, texts = parts[1::2], parts[2::2]
        if len(set(names)) != len(names):
            raise ValueError(f"a statement beside {store_file} is named twice")
        return cls(dict(zip(names, (text.strip() for text in texts), strict=True)))

    def __getitem__(self, name: str) -> str:
        return self.statements[name]
