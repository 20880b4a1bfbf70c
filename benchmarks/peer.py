"""Drives the peer's workers (`benchmarks/bare.py`) on the stack's own broker: same pool, same threads, same kinds of queue."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import redis
from celery import chain
from celery.canvas import Signature

from benchmarks import bare
from benchmarks.customer import Payer, WentWrong
from benchmarks.ground import Ground
from benchmarks.program import START_S, running
from shared.events.client import connect
from shared.kernel.clock import Clock

MONEY, LLM, TICK = "bare-money", "bare-llm", "bare-tick"
# as the Procfile has them
THREADS = {MONEY: 8, LLM: 8, TICK: 4}
# the queues that the hops of one job pass: open_eval_invoice, evaluate, open_work_invoice, execute, log.integrate
ROUTE = (MONEY, LLM, MONEY, LLM, TICK)


@dataclass(frozen=True)
class Reply:
    """When (Unix seconds) a link ran, and what it said."""

    at: float
    text: str


@dataclass(frozen=True)
class Peer:
    """Running workers, by their process ids, and the Redis they answer on."""

    pids: dict[str, int]
    answers: redis.Redis

    def hop(self, queue: str) -> Reply:
        """Send one link and wait for it."""
        reply_to = _address()
        bare.last.si(0, reply_to).set(queue=queue).apply_async()
        return self.await_reply(reply_to)

    def hops(self, clock: Clock, count: int) -> list[float]:
        """Return how long `count` links took from being sent to running, one after the other, in seconds."""
        took = []
        for _ in range(count):
            sent_at = clock.now().timestamp()
            took.append(self.hop(LLM).at - sent_at)
        return took

    def send_chain(self, number: int, reply_to: str) -> None:
        """Send a chain of links that do nothing, as long as one job's way through the workers."""
        links = [bare.link.si(number).set(queue=queue) for queue in ROUTE[:-1]]
        chain(*links, bare.last.si(number, reply_to).set(queue=ROUTE[-1])).apply_async()

    def run_chain(self, number: int) -> None:
        """Send a chain and wait for its end."""
        reply_to = _address()
        self.send_chain(number, reply_to)
        self.await_reply(reply_to)

    def run_effects(self, number: int, payer: Payer) -> None:
        """Do all that one job does outside, in as many hops, and keep nothing."""
        reply_to = _address()
        self._invoiced(reply_to, bare.invoice.si(number, reply_to).set(queue=MONEY), payer)
        judged = bare.judge.si(number).set(queue=LLM)
        self._invoiced(reply_to, chain(judged, bare.invoice.si(number, reply_to).set(queue=MONEY)), payer)
        chain(bare.answer.si(number).set(queue=LLM), bare.last.si(number, reply_to).set(queue=TICK)).apply_async()
        self.await_reply(reply_to)

    def await_reply(self, reply_to: str) -> Reply:
        """Return the next reply on a list. Raises `WentWrong` where none comes."""
        found = self.answers.blpop([reply_to], timeout=START_S)
        if not found:
            raise WentWrong("a bare chain did not come to its end")
        said = found[1]
        at, _, text = (said if isinstance(said, str) else said.decode()).partition(" ")
        return Reply(float(at), text)

    def _invoiced(self, reply_to: str, sent: Signature, payer: Payer) -> None:
        sent.apply_async()
        payer.pay(self.await_reply(reply_to).text)


@contextmanager
def running_peer(ground: Ground) -> Iterator[Peer]:
    """Start the peer's workers with the Procfile's own options; end them with the block."""
    bare.app.conf.update(broker_url=ground.environment["REDIS_URL"])
    with ExitStack() as opened:
        pids = {}
        for queue, threads in THREADS.items():
            options = ("-P", "threads", "-c", str(threads), "-Q", queue, "-n", f"{queue}@%h")
            command = (
                "celery",
                "-A",
                "benchmarks.bare",
                "worker",
                *options,
                "--without-mingle",
                "--without-gossip",
                "-l",
                "WARNING",
            )
            worker = opened.enter_context(running(command, ground.environment, log=ground.folder / f"{queue}.log"))
            pids[queue] = worker.pid
        answers = connect(ground.container.settings.redis_events_url)
        answers.connection_pool.connection_kwargs["socket_timeout"] = START_S + 5  # above what BLPOP may block
        opened.callback(answers.close)
        peer = Peer(pids, answers)
        for queue in THREADS:
            peer.hop(queue)
        yield peer
        bare.app.close()


def _address() -> str:
    return f"bench:{uuid.uuid4().hex}"
