"""What every part stands on: settings, clock, stores, the bus, steps, kept answers."""

from __future__ import annotations

from functools import cached_property

from config.settings import Settings
from shared.bootstrap.roles import Role
from shared.db.service import Database
from shared.events.client import Bus, RedisClient, connect
from shared.events.service import Events
from shared.idempotency.service import Idempotency
from shared.kernel.clock import Clock, SystemClock
from shared.kernel.ids import Ids
from shared.work.service import Work, WorkLimits


class Engine:
    """Stores, the bus, steps and kept answers, wired from one process's settings."""

    def __init__(self, settings: Settings, role: Role) -> None:
        self.settings = settings
        self.role = role
        self.clock: Clock = SystemClock()
        self.ids = Ids()

    @cached_property
    def database(self) -> Database:
        """The pool; opened on first use, so after any fork."""
        settings = self.settings
        return Database(
            settings.database_url, pool_size=settings.database_pool_size, application_name=f"lucid-{self.role}"
        )

    @cached_property
    def redis_events(self) -> RedisClient:
        """The database of Redis beside the broker's."""
        return connect(self.settings.redis_events_url)

    @cached_property
    def bus(self) -> Bus:
        """Announcements over Redis."""
        return Bus(self.redis_events)

    @cached_property
    def events(self) -> Events:
        """Owners' event streams."""
        return Events(self.database, self.bus, clock=self.clock)

    @cached_property
    def work(self) -> Work:
        """Steps, outbox, leases."""
        settings = self.settings
        limits = WorkLimits(settings.lease_s, settings.rescue_after_s, settings.max_attempts)
        return Work(self.database, limits, nudge=self.bus.nudge_relay)

    @cached_property
    def idempotency(self) -> Idempotency:
        """Answers stored by key."""
        return Idempotency(self.database, clock=self.clock)
