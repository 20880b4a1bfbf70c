"""The arithmetic of sharing: whole lamports, floors, and one recipient for what they leave (`docs/decisions/0017`). No I/O."""

from __future__ import annotations

from shared.kernel.errors import InvalidInput
from shared.splits.model import MOST_LAMPORTS, WHOLE_BP, Role, Share, SplitConfig, Wallets

TOKENS_PRICED = 1000


class TreasuryMissing(InvalidInput):
    """A part would go to the treasury, and the operator has named none. `field`: the wallet that would make up for it."""

    code = "treasury_not_configured"


def price_of_tokens(tokens: int, *, price_per_1k_lamports: int) -> int:
    """Return what so many tokens cost, in lamports, rounded down."""
    return tokens * price_per_1k_lamports // TOKENS_PRICED


def share_out(total_lamports: int, config: SplitConfig, wallets: Wallets, *, treasury: str) -> list[Share]:
    """Return every recipient's part; they sum to the total exactly.

    Each role gets the floor of its part, the protocol besides what the floors leave. Roles without a part are left out. Raises
    `InvalidInput` (a config that is not the whole, an amount out of bounds), `TreasuryMissing`.
    """
    require_whole(config)
    if not 0 <= total_lamports <= MOST_LAMPORTS:
        raise InvalidInput(f"an amount is 0 to {MOST_LAMPORTS} lamports", field="total_amount_lamports")
    lamports = {role: total_lamports * config.of(role) // WHOLE_BP for role in Role}
    lamports[Role.PROTOCOL] += total_lamports - sum(lamports.values())
    return [
        Share(role, _wallet(role, wallets, treasury), config.of(role), lamports[role])
        for role in Role
        if config.of(role) or lamports[role]
    ]


def require_whole(config: SplitConfig) -> None:
    """Raise `InvalidInput` unless no part is negative and together they are 10 000 basis points."""
    parts = [config.of(role) for role in Role]
    if min(parts) < 0 or sum(parts) != WHOLE_BP:
        raise InvalidInput(f"config: the basis points must sum to {WHOLE_BP}, none below 0", field="config")


def _wallet(role: Role, wallets: Wallets, treasury: str) -> str:
    given = {Role.COMPUTE: wallets.compute, Role.MODEL: wallets.model, Role.ORCHESTRATOR: wallets.orchestrator}
    wallet = given.get(role) or treasury
    if not wallet:
        named = "the protocol's part" if role is Role.PROTOCOL else f"a missing {role}_wallet"
        at = None if role is Role.PROTOCOL else f"{role}_wallet"
        raise TreasuryMissing(f"{named} goes to the treasury, and the operator has named none", field=at)
    return wallet
