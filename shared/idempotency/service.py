"""Claim a key, answer under it, say the answer again. One statement decides who answers: no check-then-act."""

from __future__ import annotations

from datetime import timedelta

from shared.db.service import Database, Tx
from shared.idempotency import store
from shared.idempotency.model import Answer, Claim, KeyInUse, KeyRef, KeyReused
from shared.kernel.clock import Clock
from shared.kernel.errors import InvalidInput
from shared.kernel.failpoints import effect as failpoint
from shared.kernel.owner import Owner

KEY_LENGTH = 255
LIFE_S = 24 * 3600
ABANDONED_AFTER_S = 60
RETRY_AFTER_S = 2
TERMINAL_REFUSALS = frozenset({400, 403, 404, 405, 413, 415, 422})
"""Refusals that the same request meets again. A 401, 402, 409, 410 or 429 is of how things stand, so it is never kept."""


def is_kept(status: int) -> bool:
    """Tell whether an answer of this status is stored and replayed: successes and terminal refusals."""
    return 200 <= status < 300 or status in TERMINAL_REFUSALS


class Idempotency:
    """Answers each key once, for 24 hours."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def begin(self, ref: KeyRef, *, fingerprint: bytes) -> Claim | Answer:
        """Return a claim for a request that is new, or the answer that it got before. `fingerprint`: 32 bytes of the request.

        A claim left unanswered (its process died) may be taken over by the same request: at once where something was made under
        it, which the new claim then names, else after a minute. Raises `InvalidInput` for a malformed key, `KeyReused` for
        another request under the key, `KeyInUse` while the first one runs.
        """
        if not (0 < len(ref.key) <= KEY_LENGTH and ref.key.isascii() and ref.key.isprintable()):
            message = f"an idempotency key is 1 to {KEY_LENGTH} printable ASCII characters"
            raise InvalidInput(message, field="Idempotency-Key")
        while True:
            now = self._clock.now()
            with self._database.transaction() as tx, failpoint("idempotency.claim"):
                claim = store.claim(
                    tx,
                    ref,
                    fingerprint=fingerprint,
                    now=now,
                    born_before=now - timedelta(seconds=LIFE_S),
                    abandoned_before=now - timedelta(seconds=ABANDONED_AFTER_S),
                )
                found = None if claim else store.find(tx, ref)
            if claim is not None:
                return claim
            if found is not None:  # otherwise it was released between the two statements: claim again
                return _known(*found, fingerprint=fingerprint)

    def finish(self, claim: Claim, answer: Answer | None) -> bool:
        """Keep `answer` where its status is worth keeping, else (and for None) let the same request try again.

        True where the answer is about what an earlier request made. A key that names what was made is not freed for another
        request, whatever the status: the thing may be there.
        """
        with self._database.transaction() as tx, failpoint("idempotency.answer"):
            kept = answer if answer is not None and is_kept(answer.status) else None
            about = store.release(tx, claim) if kept is None else store.answer(tx, claim, kept)
        return about is not None and about == claim.made

    def prune(self, tx: Tx) -> int:
        """Delete what nobody may ask for any more; return how many."""
        return store.prune(tx, born_before=self._clock.now() - timedelta(seconds=LIFE_S))


def name(tx: Tx, claim: Claim, owner: Owner) -> None:
    """Have the key name what this transaction makes under it, so that a repeated request finds it whoever dies.

    Raises `KeyInUse` where the claim was taken over meanwhile: what was to be made must then not be.
    """
    if not store.name_owner(tx, claim, owner):
        raise KeyInUse("another request with this idempotency key has taken over", retry_after_s=RETRY_AFTER_S)


def _known(before: bytes, answer: Answer | None, *, fingerprint: bytes) -> Answer:
    if before != fingerprint:
        raise KeyReused("this idempotency key came with another request", field="Idempotency-Key")
    if answer is None:
        raise KeyInUse("the first request with this idempotency key is still running", retry_after_s=RETRY_AFTER_S)
    return answer
