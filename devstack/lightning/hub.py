"""Wakes the streams: invoice events go to subscriptions, and every commit is a reason to look again."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from devstack.lightning.records import Invoice


class Subscription:
    """One open SubscribeInvoices stream: the events it has not delivered yet, oldest first."""

    def __init__(self, node: str, *, add_index: int, settle_index: int) -> None:
        self.node = node
        self.add_index = add_index
        self.settle_index = settle_index
        self.events: deque[Invoice] = deque()

    def offer(self, invoice: Invoice) -> None:
        """Queue a live event, unless the subscriber said that it knows more than that already."""
        if invoice.node != self.node:
            return
        if invoice.is_settled and invoice.settle_index > self.settle_index:
            self.events.append(invoice)
        if not invoice.is_settled and invoice.add_index > self.add_index:
            self.events.append(invoice)


class Hub:
    """One condition for all streams of the process: few streams, rare events."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._subscriptions: list[Subscription] = []
        self._version = 0

    @property
    def version(self) -> int:
        """Return the count of wake-ups so far, to hand to `wait`."""
        return self._version

    def attach(self, subscription: Subscription) -> None:
        """Start queueing events. Call it while nothing can commit, so that backlog and live events leave no gap."""
        with self._condition:
            self._subscriptions.append(subscription)

    def detach(self, subscription: Subscription) -> None:
        """Stop queueing events."""
        with self._condition:
            self._subscriptions.remove(subscription)

    def publish(self, events: list[Any]) -> None:
        """Hand out what a transaction announced, and wake everybody."""
        with self._condition:
            for event in events:
                for subscription in self._subscriptions:
                    subscription.offer(event)
            self._version += 1
            self._condition.notify_all()

    def wake(self) -> None:
        """Make every stream look again: a caller left, a fault was set."""
        self.publish([])

    def wait(self, version: int, *, timeout_s: float) -> None:
        """Return when anything happened since `version`, or after `timeout_s`."""
        with self._condition:
            self._condition.wait_for(lambda: self._version != version, timeout_s)

    def take(self, subscription: Subscription, *, timeout_s: float) -> Invoice | None:
        """Return the next event; None when `timeout_s` passed without one."""
        with self._condition:
            self._condition.wait_for(lambda: bool(subscription.events), timeout_s)
            return subscription.events.popleft() if subscription.events else None
