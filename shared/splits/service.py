"""Share out a run's price: worked out once, kept as it is, read and verified by its tenant. Nothing is transferred."""

from __future__ import annotations

from dataclasses import dataclass

from shared.db.service import Database
from shared.kernel.clock import Clock
from shared.kernel.errors import Conflict, IntegrityFault, InvalidInput, NotFound
from shared.kernel.failpoints import effect as failpoint
from shared.receipts.reading import Reading
from shared.receipts.service import Receipts
from shared.splits import records, store
from shared.splits.model import Split, SplitConfig, SplitVerification, Terms, Wallets
from shared.splits.shares import price_of_tokens, share_out

NO_SUCH = "no payout was calculated for this run"


@dataclass(frozen=True)
class Priced:
    """What a run cost by its receipt: the tokens that the caller thinks it took, and the price of a thousand in lamports."""

    run_id: str
    tokens_in: int
    tokens_out: int
    price_per_1k_lamports: int


class Splits:
    """Keeps one split a run and tenant. `treasury`: where the protocol's part goes, and any part whose wallet is not named."""

    def __init__(
        self, database: Database, *, reading: Reading, receipts: Receipts, clock: Clock, treasury: str
    ) -> None:
        self._database = database
        self._reading = reading
        self._receipts = receipts
        self._clock = clock
        self._treasury = treasury

    def calculate(self, terms: Terms, *, tenant: str) -> Split:
        """Share out a total; the same terms again get the same record.

        Raises `InvalidInput`, `TreasuryMissing`, `Conflict` where the run's price was shared out in another way before.
        """
        asked = records.asked_hash(terms)
        with self._database.transaction() as tx:
            found = store.find(tx, tenant=tenant, run_id=terms.run_id)
        if found is None:
            shares = share_out(terms.total_lamports, terms.config, terms.wallets, treasury=self._treasury)
            split = records.record_of(terms, shares, timestamp=int(self._clock.now().timestamp()))
            with self._database.transaction() as tx, failpoint("split.record"):
                store.insert(tx, split, tenant=tenant, asked=asked)
                found = store.find(tx, tenant=tenant, run_id=terms.run_id)
        if found is None:
            raise IntegrityFault("a split was recorded and is not there")
        if found[1] != asked:
            raise Conflict("the price of this run was shared out on other terms", code="payout_exists")
        return found[0]

    def from_receipt(self, priced: Priced, *, wallets: Wallets, config: SplitConfig, tenant: str) -> Split:
        """Share out what the tokens of the tenant's own receipt cost.

        Raises `NotFound` without such a receipt, `InvalidInput` where it says other tokens, and as `calculate` does.
        """
        body = self._reading.receipt_of(self._receipts.tenant(tenant), priced.run_id).body
        for name, said in (("tokens_in", priced.tokens_in), ("tokens_out", priced.tokens_out)):
            if body.get(name, 0) != said:
                raise InvalidInput(f"{name}: the receipt says {body.get(name, 0)}", field=name, code="tokens_differ")
        total = price_of_tokens(
            priced.tokens_in + priced.tokens_out, price_per_1k_lamports=priced.price_per_1k_lamports
        )
        return self.calculate(Terms(priced.run_id, total, wallets, config), tenant=tenant)

    def get(self, run_id: str, *, tenant: str) -> Split:
        """Return the tenant's split of a run. Raises `NotFound`."""
        with self._database.transaction() as tx:
            found = store.find(tx, tenant=tenant, run_id=run_id)
        if found is None:
            raise NotFound(NO_SUCH)
        return found[0]

    def verify(self, run_id: str, *, tenant: str) -> SplitVerification:
        """Check the tenant's split of a run anew. Raises `NotFound`."""
        return records.verify(self.get(run_id, tenant=tenant))
