"""Epochs of projects: views of one tenant's receipts between two sizes of the one log. Reading opens and closes nothing."""

from __future__ import annotations

from shared.db.service import Database
from shared.kernel.errors import IntegrityFault, InvalidInput, NotFound
from shared.kernel.ids import Ids, is_public
from shared.receipts import project_store
from shared.receipts.model import EpochState, EpochStatus, EpochView
from shared.receipts.reading import EPOCH
from shared.receipts.service import Receipts

MOST_CHARACTERS = 128


class ProjectEpochs:
    """Opens a project's epochs and shows them to their tenant, to nobody else."""

    def __init__(self, database: Database, *, receipts: Receipts, ids: Ids) -> None:
        self._database = database
        self._receipts = receipts
        self._ids = ids

    def open(self, *, tenant: str, project: str) -> EpochView:
        """Return the project's open epoch; where none is open, one is opened at the size at which the last one ended.

        Raises `InvalidInput` for what names no project.
        """
        require_project(project)
        known_as = self._receipts.tenant(tenant)
        with self._database.transaction() as tx:
            epoch_id = self._ids.public(EPOCH)
            project_store.open_project_epoch(tx, tenant=known_as, project=project, epoch_id=epoch_id)
            found = project_store.newest_project_epoch(tx, tenant=known_as, project=project)
        if found is None:
            raise IntegrityFault("a project's epoch was opened and is not there")
        return found[2]

    def current(self, *, tenant: str, project: str) -> EpochView:
        """Return the project's open epoch. Raises `NotFound` where none is open."""
        with self._database.transaction() as tx:
            found = project_store.newest_project_epoch(tx, tenant=self._receipts.tenant(tenant), project=project)
        if found is None or found[2].epoch.state is not EpochState.OPEN:
            raise NotFound("no epoch of this project is open")
        return found[2]

    def listing(
        self, *, tenant: str, project: str | None, status: EpochStatus | None, page: int, per_page: int
    ) -> tuple[list[EpochView], int]:
        """Return one page of a tenant's epochs, of one project or of all, newest first, and how many there are in all."""
        known_as = self._receipts.tenant(tenant)
        place = {"limit": per_page, "offset": (page - 1) * per_page}
        with self._database.transaction() as tx:
            views = project_store.project_epochs(tx, tenant=known_as, project=project, status=status, **place)
            return views, project_store.project_epoch_count(tx, tenant=known_as, project=project, status=status)

    def find(self, *, tenant: str, epoch_id: str) -> EpochView:
        """Return one of the tenant's epochs. Raises `NotFound`, for everybody else's too."""
        with self._database.transaction() as tx:
            found = project_store.project_epoch_by_id(tx, epoch_id) if is_public(epoch_id, EPOCH) else None
        if found is None or found[1] != self._receipts.tenant(tenant):
            raise NotFound("epoch not found")
        return found[2]


def require_project(project: str) -> None:
    """Raise `InvalidInput` unless this is a project's name: 1 to 128 printable characters."""
    if not (0 < len(project) <= MOST_CHARACTERS and project.isprintable()):
        raise InvalidInput(f"project_id: 1 to {MOST_CHARACTERS} printable characters", field="project_id")
