"""How PostgreSQL, which refuses to run as root, is started when we are root: no user is added, no permission opened."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from devstack.faults import StackFault

_USER_NAMESPACE = ("unshare", "-U", "--map-user=1000", "--map-group=1000")
# Containers often forbid user namespaces. Then: the user nobody, who keeps the one capability needed to enter our folders.
_NOBODY = 65534
_AS_NOBODY = (
    "setpriv",
    f"--reuid={_NOBODY}",
    f"--regid={_NOBODY}",
    "--clear-groups",
    "--inh-caps=-all,+dac_override",
    "--ambient-caps=-all,+dac_override",
)


@dataclass(frozen=True)
class Unprivileged:
    """A command prefix under which a program is not root, and the user who must own its data."""

    prefix: tuple[str, ...]
    owner: int

    def own(self, folder: Path) -> None:
        """Give `folder` and all in it to the owner, where it is not his yet (only root ever has to)."""
        if not folder.exists() or folder.stat().st_uid == self.owner:
            return
        for path in (folder, *folder.rglob("*")):
            os.chown(path, self.owner, -1, follow_symlinks=False)


def unprivileged() -> Unprivileged:
    """Find the way that works here. Raises `StackFault` for a root that can do neither."""
    if os.geteuid() != 0:
        return Unprivileged((), os.geteuid())
    for prefix, owner in ((_USER_NAMESPACE, 0), (_AS_NOBODY, _NOBODY)):
        if _works(prefix):
            return Unprivileged(prefix, owner)
    raise StackFault(
        "PostgreSQL does not run as root, and neither unshare nor setpriv works here",
        "run make as an ordinary user, or set DATABASE_URL to a PostgreSQL of yours",
    )


def _works(prefix: tuple[str, ...]) -> bool:
    if shutil.which(prefix[0]) is None:
        return False
    trial = subprocess.run([*prefix, "true"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return trial.returncode == 0
