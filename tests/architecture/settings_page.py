"""`.env.example` as a page of variables: what is set on it, what is commented out with its default."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.architecture.source_tree import ROOT

_VARIABLE = re.compile(r"^(# )?([A-Z][A-Z0-9_]*)=(.*)$")
_TITLE = re.compile(r"^# == (.*) ==$")


@dataclass(frozen=True)
class Section:
    """One titled part: `given` are its set variables (empty: to be filled in), `defaults` those commented out."""

    title: str
    given: dict[str, str]
    defaults: dict[str, str]

    @property
    def names(self) -> list[str]:
        """Every variable of the section."""
        return [*self.given, *self.defaults]


def sections() -> list[Section]:
    """Return the sections in order."""
    found: list[Section] = []
    for line in (ROOT / ".env.example").read_text(encoding="utf-8").splitlines():
        title, variable = _TITLE.match(line), _VARIABLE.match(line)
        if title:
            found.append(Section(title[1], {}, {}))
        elif variable:
            (found[-1].defaults if variable[1] else found[-1].given)[variable[2]] = variable[3]
    return found


def settings() -> Section:
    """Return the section that mirrors `config/settings.py`."""
    return sections()[0]


def filled_in() -> dict[str, str]:
    """Return an environment that `Settings` accepts: the page with its blanks filled in."""
    pem = "-----BEGIN CERTIFICATE-----\\nnobody's\\n-----END CERTIFICATE-----"
    blanks = {"LND_TLS_CERT": pem, "LND_MACAROON_INVOICES": "00", "FLOWER_PASSWORD": "a-password"}
    keys = {"SECRET_KEY": "11" * 32, "RECEIPT_SIGNING_KEY": "22" * 32, "LOG_SIGNING_KEY": "33" * 32}
    return {**settings().given, **blanks, **keys}
