"""Inference runs: the desk that takes them, the engine that does them, the way of their streams."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from shared.bootstrap.gateway import GatewayParts
from shared.inference.audience import Audience
from shared.inference.channel import FrameReceiver, FrameSender
from shared.inference.ending import Endings
from shared.inference.planning import Planner
from shared.inference.sealing import Sealer
from shared.inference.service import Runs
from shared.inference.watch import CancelWatch

if TYPE_CHECKING:
    from shared.inference.engine import Inference


class InferenceParts(GatewayParts):
    """Inference runs."""

    @cached_property
    def sealer(self) -> Sealer:
        """Seals what may not be stored."""
        return Sealer(self.settings.secret_key, self.ids)

    @cached_property
    def endings(self) -> Endings:
        """Ends runs."""
        return Endings(events=self.events, receipts=self.receipts, ids=self.ids)

    @cached_property
    def audience(self) -> Audience:
        """Who reads streams in this process."""
        return Audience(self.database, FrameReceiver(self.redis_events), clock=self.clock)

    @cached_property
    def runs(self) -> Runs:
        """The front desk of runs."""
        return Runs(
            self.database,
            planner=Planner(self.catalog, has_simulation=bool(self.settings.sim_openai_base_url)),
            sealer=self.sealer,
            endings=self.endings,
            audience=self.audience,
            receipts=self.receipts,
            events=self.events,
            work=self.work,
            ids=self.ids,
        )

    @cached_property
    def inference(self) -> Inference:
        """Does runs."""
        from shared.inference.engine import Inference
        from shared.inference.upstreams import UpstreamPool

        settings = self.settings
        pool = UpstreamPool(
            self.upstreams,
            first_token_s=settings.llm_first_token_s,
            deadline_s=settings.llm_deadline_s,
            clock=self.clock,
            refuses_private=settings.is_production,
        )
        return Inference(
            self.database,
            endings=self.endings,
            frame_sender=FrameSender(self.redis_events),
            cancel_watch=CancelWatch(self.database, grace_s=settings.disconnect_grace_s),
            upstream_pool=pool,
            sealer=self.sealer,
            events=self.events,
            work=self.work,
            clock=self.clock,
            longest_s=settings.llm_deadline_s,
        )
