"""The container of one process: every part of the product, wired once. Each layer below adds an area's parts to those beneath it."""

from __future__ import annotations

from shared.bootstrap.roles import PARTS
from shared.bootstrap.verification import VerificationParts


class Container(VerificationParts):
    """Every part of the product, built on first use."""

    def warm(self) -> None:
        """Build every part of this role before the first thread asks for one: two threads must not build two."""
        for name in PARTS[self.role]:
            getattr(self, name)
