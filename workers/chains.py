"""What follows what: every chain of the product on this one page.

A chain is a courier of an internal row id. Each link is a step that asks "is it my turn?", so a link that comes twice, late or
for nothing does nothing. Finishing a step queues the next one's row; the next link is only its delivery. Where a step stalls
(a message lost, a process dead), the rescuer rings (kind, step), and the chain goes on from there, never from its head.

    event                              chain
    a job is created                   job.open_eval_invoice
    its evaluation fee arrives         job.evaluate → job.open_work_invoice
    its work payment arrives           job.execute
    a session or its top-up is asked for invoice.open
    a plan is asked for                plan.open_invoice
    an invoice is given up             invoice.withdraw
    a session's request is accepted    request.evaluate → request.execute
    a free call is accepted            demo.evaluate → demo.execute
    a run is accepted                  run.infer
    code is to be verified             forward.extract → forward.verify → forward.remediate
    code is to be generated            reverse.specify → reverse.constrain → reverse.generate → reverse.verify → reverse.repair
    a refund or withdrawal is claimed  payout.send
    invoices are due for a look        sweep.find_due → sweep.settle → sweep.advance     (a GET's nudge starts at settle)
    a receipt was issued               log.integrate
    an epoch closed                    anchor.submit
"""

from __future__ import annotations

from dataclasses import dataclass

from celery import chain
from celery.canvas import Signature

from config.queues import ANCHOR, INFERENCE, LLM, MONEY, PAYOUT, TICK, VERIFICATION, Queue
from shared.work.model import Message, StepRef
from workers.app import CID, app


@dataclass(frozen=True)
class Link:
    """One step of a chain and the queue that delivers it. Its task is named `kind.step`."""

    step: str
    queue: Queue


CHAINS: dict[str, tuple[tuple[Link, ...], ...]] = {
    "job": (
        (Link("open_eval_invoice", MONEY),),
        (Link("evaluate", LLM), Link("open_work_invoice", MONEY)),
        (Link("execute", LLM),),
    ),
    "plan": ((Link("open_invoice", MONEY),),),
    "invoice": ((Link("open", MONEY),), (Link("withdraw", MONEY),)),
    "request": ((Link("evaluate", LLM), Link("execute", LLM)),),
    "demo": ((Link("evaluate", LLM), Link("execute", LLM)),),
    "run": ((Link("infer", INFERENCE),),),
    "forward": ((Link("extract", VERIFICATION), Link("verify", VERIFICATION), Link("remediate", VERIFICATION)),),
    "reverse": (
        (
            Link("specify", VERIFICATION),
            Link("constrain", VERIFICATION),
            Link("generate", VERIFICATION),
            Link("verify", VERIFICATION),
            Link("repair", VERIFICATION),
        ),
    ),
    "payout": ((Link("send", PAYOUT),),),
    "sweep": ((Link("find_due", MONEY), Link("settle", MONEY), Link("advance", MONEY)),),
    "log": ((Link("integrate", TICK),),),
    "anchor": ((Link("submit", ANCHOR),),),
}


class NoChain(LookupError):
    """No chain of this release has the step."""


def remaining(kind: str, step: str) -> tuple[Link, ...]:
    """Return `step` and what follows it. Raises `NoChain` for a step that no chain has."""
    for links in CHAINS.get(kind, ()):
        for position, link in enumerate(links):
            if link.step == step:
                return links[position:]
    raise NoChain(f"{kind}.{step}")


def signature(ref: StepRef, *, cid: str) -> Signature:
    """Return the chain that starts at this step: immutable links, one row id each."""
    links = [_link(ref.owner_kind, link, ref.owner_id, cid) for link in remaining(ref.owner_kind, ref.name)]
    return links[0] if len(links) == 1 else chain(*links)


def publish(message: Message) -> None:
    """Send the chain of one outbox row. Called by the relay alone."""
    signature(message.ref, cid=message.cid).apply_async()


def _link(kind: str, link: Link, row_id: int, cid: str) -> Signature:
    options = {"queue": link.queue.name, "headers": {CID: cid}, "argsrepr": f"({row_id},)"}
    return app.signature(f"{kind}.{link.step}", args=(row_id,), immutable=True, options=options)
