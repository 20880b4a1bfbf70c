"""Verifications: the desk that takes them, the engine that does them."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from shared.access.model import Mode
from shared.bootstrap.inference import InferenceParts
from shared.verification.ending import VerificationEndings
from shared.verification.service import Verifications, VerificationTerms
from shared.verification.upstreams import ConfiguredModel, Models, Prices

if TYPE_CHECKING:
    from shared.sandbox.service import Sandboxes
    from shared.verification.engine import VerificationEngine


class VerificationParts(InferenceParts):
    """Verifications."""

    @cached_property
    def verification_models(self) -> dict[Mode, ConfiguredModel]:
        """The operator's model for live keys, the simulated one for test keys, as far as there are any."""
        settings = self.settings
        live = settings.verification_model or settings.work_model
        models = {Mode.LIVE: ConfiguredModel(live, settings.openai_base_url)}
        if settings.sim_openai_base_url:
            models[Mode.TEST] = ConfiguredModel(settings.sim_model, settings.sim_openai_base_url)
        return models

    @cached_property
    def verification_endings(self) -> VerificationEndings:
        """Ends verifications."""
        addresses = {str(mode): model.base_url for mode, model in self.verification_models.items()}
        return VerificationEndings(events=self.events, receipts=self.receipts, quotas=self.quotas, upstreams=addresses)

    @cached_property
    def verifications(self) -> Verifications:
        """The front desk of verifications."""
        settings = self.settings
        return Verifications(
            self.database,
            terms=VerificationTerms(settings.verification_deadline_s, settings.retention_days),
            models=Models(self.verification_models),
            verification_endings=self.verification_endings,
            quotas=self.quotas,
            receipts=self.receipts,
            events=self.events,
            work=self.work,
            ids=self.ids,
        )

    @cached_property
    def sandboxes(self) -> Sandboxes:
        """Runs submitted code."""
        from shared.sandbox.service import Sandboxes

        return Sandboxes(cache_dir=self.settings.sandbox_cache, most_at_once=self.settings.sandbox_runs)

    @cached_property
    def verification_engine(self) -> VerificationEngine:
        """Does verifications."""
        from shared.agent.metering import MeteredUpstream
        from shared.verification.engine import VerificationEngine

        settings = self.settings
        model_apis = {
            mode: MeteredUpstream(
                model.base_url,
                settings.openai_api_key if mode is Mode.LIVE else "",
                first_token_s=settings.llm_first_token_s,
                deadline_s=settings.llm_deadline_s,
                clock=self.clock,
                database=self.database,
            )
            for mode, model in self.verification_models.items()
        }
        return VerificationEngine(
            self.database,
            verification_endings=self.verification_endings,
            model_apis=model_apis,
            prices=Prices(settings.input_usd_per_mtok, settings.output_usd_per_mtok),
            sandboxes=self.sandboxes,
            events=self.events,
            work=self.work,
            clock=self.clock,
        )
