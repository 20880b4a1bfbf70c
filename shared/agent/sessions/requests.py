"""The two steps of a session's request. Whatever its end: reservation, charge, receipt and the session's rest in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from shared.agent.model import Estimate
from shared.agent.model_access import Answer, ModelDesk, Opinion
from shared.agent.pricing import Rates, actual, evaluation_charge
from shared.agent.sessions import store
from shared.agent.sessions.life import SessionLife
from shared.agent.sessions.model import (
    REQUEST,
    REQUEST_TRANSITIONS,
    Outcome,
    RequestEvent,
    RequestState,
    RequestStep,
    Session,
    SessionRequest,
)
from shared.db.service import Database, Tx
from shared.events.service import Events
from shared.kernel.errors import IntegrityFault
from shared.kernel.money import charge_sats, msat
from shared.kernel.transitions import next_state
from shared.ledger import service as ledger
from shared.ledger.model import Account
from shared.lightning.model import Purpose
from shared.lightning.service import Invoices
from shared.receipts.model import Draft, Paid, Ran, ReceiptKind
from shared.receipts.service import Receipts
from shared.work.model import Claim, StepRef
from shared.work.service import Work

EVALUATION_FAILED = "The evaluation could not be finished; nothing was debited."
WORK_FAILED = "The work could not be finished; nothing was debited."
FREE = Decimal(0)


@dataclass(frozen=True)
class _End:
    """What a request's receipt says beyond money, and the charge in dollars."""

    finish_reason: str
    charge_usd: Decimal = FREE
    ran: Ran | None = None
    output: str | None = None


class SessionRequests:
    """Judges and does what is asked on a session's balance."""

    def __init__(
        self,
        database: Database,
        *,
        session_life: SessionLife,
        models: ModelDesk,
        rates: Rates,
        invoices: Invoices,
        receipts: Receipts,
        events: Events,
        work: Work,
    ) -> None:
        self._database = database
        self._session_life = session_life
        self._models = models
        self._rates = rates
        self._invoices = invoices
        self._receipts = receipts
        self._events = events
        self._work = work

    def evaluate(self, request_id: int) -> None:
        """Have the model judge the request; a refusal is charged what judging cost, an acceptance goes on to the work."""

        def effect(claim: Claim) -> Opinion:
            return self._models.judge(self._read(request_id, RequestState.EVALUATING).request, claim)

        def finish(tx: Tx, opinion: Opinion) -> None:
            session, request = self._lock(tx, request_id)
            ran = opinion.ran
            store.record_judgement(
                tx, request_id, reason=opinion.reason, tokens_in=ran.tokens_in, tokens_out=ran.tokens_out
            )
            if opinion.accepted:
                self._move(tx, request, RequestEvent.ACCEPTED)
                self._work.follow(tx, StepRef(REQUEST, request_id, RequestStep.EXECUTE))
                return
            eval_msat, charge_usd = self._judged(request, ran.tokens_in, ran.tokens_out)
            end = _End("refused", charge_usd, ran, opinion.reason)
            self._end(tx, session, request, RequestEvent.REFUSED, outcome=Outcome(eval_msat=eval_msat), end=end)

        def give_up(tx: Tx, _reason: str) -> None:
            self._fail(tx, request_id, RequestEvent.EVALUATION_FAILED, EVALUATION_FAILED)

        step = StepRef(REQUEST, request_id, RequestStep.EVALUATE)
        self._work.perform(step, effect=effect, finish=finish, give_up=give_up)

    def execute(self, request_id: int) -> None:
        """Have the model do the request; what it used is charged, at most what was reserved. A failure is free."""

        def effect(claim: Claim) -> Answer:
            request = self._read(request_id, RequestState.EXECUTING)
            return self._models.do(request.request, claim, max_tokens=self._rates.max_output_tokens)

        def finish(tx: Tx, answer: Answer) -> None:
            session, request = self._lock(tx, request_id)
            outcome, charge_usd = self._account(request, answer)
            end = _End(answer.finish_reason, charge_usd, answer.ran, answer.text)
            self._end(tx, session, request, RequestEvent.DONE, outcome=outcome, end=end)

        def give_up(tx: Tx, _reason: str) -> None:
            self._fail(tx, request_id, RequestEvent.WORK_FAILED, WORK_FAILED)

        step = StepRef(REQUEST, request_id, RequestStep.EXECUTE)
        self._work.perform(step, effect=effect, finish=finish, give_up=give_up)

    # -- what it costs

    def _judged(self, request: SessionRequest, tokens_in: int, tokens_out: int) -> tuple[int, Decimal]:
        """Return what judging is charged: millisatoshi, at most what was reserved, and dollars."""
        charge_usd = evaluation_charge(
            self._rates, margin_pct=request.margin_pct, tokens_in=tokens_in, tokens_out=tokens_out
        )
        charged_msat = msat(charge_sats(charge_usd, btc_price_usd=request.btc_price_usd))
        return min(charged_msat, request.reserved_msat), charge_usd

    def _account(self, request: SessionRequest, answer: Answer) -> tuple[Outcome, Decimal]:
        eval_msat, eval_usd = self._judged(request, request.eval_tokens_in, request.eval_tokens_out)
        tokens_in, tokens_out = answer.ran.tokens_in, answer.ran.tokens_out
        locked = Estimate(FREE, request.margin_pct, request.btc_price_usd, 0)
        left_msat = request.reserved_msat - eval_msat
        spent = actual(self._rates, locked, tokens_in=tokens_in, tokens_out=tokens_out, paid_msat=left_msat)
        outcome = Outcome(
            result=answer.text,
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            eval_msat=eval_msat,
            work_msat=spent.charged_msat,
        )
        return outcome, eval_usd + spent.charge_usd

    # -- how it ends

    def _fail(self, tx: Tx, request_id: int, event: RequestEvent, message: str) -> None:
        session, request = self._lock(tx, request_id)
        self._end(tx, session, request, event, outcome=Outcome(error_message=message), end=_End(event))

    def _end(
        self,
        tx: Tx,
        session: Session,
        request: SessionRequest,
        event: RequestEvent,
        *,
        outcome: Outcome,
        end: _End,
    ) -> None:
        if outcome.error_message is None:
            ledger.settle(tx, session.owner, ref=request.ref)
        else:
            ledger.release(tx, session.owner, ref=request.ref)
        self._earn(tx, session, request, outcome)
        self._move(tx, request, event, outcome)
        self._leave_receipt(tx, session, request, outcome, end)
        self._events.append(tx, session.owner, "request ended")
        self._session_life.rest(tx, session)

    def _earn(self, tx: Tx, session: Session, request: SessionRequest, outcome: Outcome) -> None:
        if outcome.eval_msat:
            ref = f"{request.ref}:eval"
            ledger.earn(tx, session.owner, Account.REVENUE_EVAL, ref=ref, amount_msat=outcome.eval_msat)
        if outcome.work_msat:
            ref = f"{request.ref}:work"
            ledger.earn(tx, session.owner, Account.REVENUE_WORK, ref=ref, amount_msat=outcome.work_msat)

    def _leave_receipt(self, tx: Tx, session: Session, request: SessionRequest, outcome: Outcome, end: _End) -> None:
        deposit = self._invoices.by_purpose(tx, session.owner, Purpose.DEPOSIT)
        charged_msat = outcome.eval_msat + outcome.work_msat
        paid = Paid(
            received_msat=charged_msat,
            charged_msat=charged_msat,
            owed_back_msat=0,
            payment_hash=deposit.payment_hash if deposit else None,
            btc_price_usd=request.btc_price_usd,
            charge_usd=end.charge_usd,
        )
        self._receipts.issue(
            tx,
            Draft(
                kind=ReceiptKind.SESSION_REQUEST,
                owner=request.owner,
                tenant=session.public_id,
                finish_reason=end.finish_reason,
                paid=paid,
                ran=end.ran,
                input=request.request.encode(),
                output=None if end.output is None else end.output.encode(),
            ),
        )

    def _move(self, tx: Tx, request: SessionRequest, event: RequestEvent, outcome: Outcome | None = None) -> None:
        to_state = next_state(REQUEST_TRANSITIONS, request.state, event)
        store.move_request(tx, request.id, from_state=request.state, to_state=to_state, outcome=outcome or Outcome())
        self._events.append(tx, request.owner, event, moved=(request.state, to_state))

    def _read(self, request_id: int, state: RequestState) -> SessionRequest:
        with self._database.transaction() as tx:
            request = store.request(tx, request_id)
        if request is None or request.state is not state:
            raise IntegrityFault(f"a request's step while it is not {state}")
        return request

    def _lock(self, tx: Tx, request_id: int) -> tuple[Session, SessionRequest]:
        """Lock the session, which serialises all of its requests, and read the request under that lock."""
        found = store.request(tx, request_id)
        if found is None:
            raise IntegrityFault("a step without its request")
        session = self._session_life.lock(tx, found.session_id)
        request = store.request(tx, request_id)
        if request is None:
            raise IntegrityFault("a request vanished")
        return session, request
