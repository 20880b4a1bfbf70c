"""Configured upstreams as passports of the operator's: made, kept as the settings and the upstreams say, deprecated when they go.

Their ids follow from their addresses, so that receipts of paid jobs name passports that exist. Repeating it changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from shared.catalog import store
from shared.catalog.clients.models import ListedModel, Listing
from shared.catalog.metadata import hash_of
from shared.catalog.model import OPERATOR, SIMULATED, Draft, Passport, PassportEvent, PassportStatus, PassportType
from shared.catalog.passports import Passports
from shared.catalog.upstreams import ConfiguredUpstream
from shared.db.service import Database, Tx
from shared.kernel.failpoints import effect as failpoint

OPENAI_COMPATIBLE = "openai-compatible"
RUNTIMES_BY_OWNER = {"llamacpp": "llama.cpp", "vllm": "vllm", "library": "ollama", "huggingface": "tgi"}
"""What servers call themselves in the list of their models; who does not is only known to speak the API."""
OPENAI_HOST = "api.openai.com"
CONFIGURED = "configured"

PassportOf = Callable[..., str]
"""`shared.receipts.service.passport_of`: the id that receipts give an upstream or its model."""


@dataclass(frozen=True)
class Registered:
    """What a registration did, by passport id, and how many passports are as they should be in all."""

    created: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    deprecated: tuple[str, ...] = ()
    restored: tuple[str, ...] = ()
    standing: int = 0

    @property
    def did_nothing(self) -> bool:
        """True where everything was as it should be."""
        return not (self.created or self.changed or self.deprecated or self.restored)


@dataclass(frozen=True)
class _Wanted:
    """A passport as the settings want it."""

    passport_id: str
    draft: Draft
    simulated: bool


class Registrar:
    """Registers. `region` is that of all upstreams; `owner`: the wallet shown as theirs."""

    def __init__(
        self, database: Database, *, passports: Passports, passport_of: PassportOf, region: str, owner: str
    ) -> None:
        self._database = database
        self._passports = passports
        self._passport_of = passport_of
        self._region = region
        self._owner = owner

    def register(self, heard: Mapping[ConfiguredUpstream, Listing]) -> Registered:
        """Bring the operator's configured passports to what `heard`, all configured upstreams with what each listed, says.

        An upstream that listed nothing keeps what it listed before. What was revoked stays so.
        """
        with self._database.transaction() as tx, failpoint("catalog.register"):
            store.become_registrar(tx)
            there = {passport.passport_id: passport for passport in store.configured(tx)}
            wanted = {item.passport_id: item for up, listing in heard.items() for item in self._of(up, listing, there)}
            return self._applied(tx, there, wanted)

    def node_id(self, upstream: ConfiguredUpstream) -> str:
        """Return the id of an upstream's compute passport."""
        return self._passport_of(PassportType.COMPUTE, *_names(upstream))

    # -- what is wanted

    def _of(self, up: ConfiguredUpstream, listing: Listing, there: Mapping[str, Passport]) -> Iterable[_Wanted]:
        listed = {model.name: model for model in listing.models or ()}
        known = () if listing.models is not None else _known_before(up, there.values())
        names = list(dict.fromkeys((*up.models, *listed, *known)))
        before = there.get(self.node_id(up))
        runtime = _runtime(up, listing.models, before)
        yield self._node(up, names, runtime)
        for name in names:
            yield self._model(up, name, runtime)

    def _node(self, up: ConfiguredUpstream, names: list[str], runtime: str) -> _Wanted:
        passport_id = self.node_id(up)
        metadata = {
            "schema_version": "1.0",
            "compute_passport_id": passport_id,
            "provider_type": "managed",
            "execution_mode": "managed_endpoint",
            "regions": [self._region],
            "hardware": {"gpu": "unknown", "vram_gb": 0},
            "runtimes": [{"name": name} for name in dict.fromkeys((runtime, OPENAI_COMPATIBLE))],
            "capabilities": {"supports_streaming": True},
            "endpoints": {"inference_url": up.base_url},
            "metadata": {"upstream": up.name, "models": names, "simulated": up.is_made_up},
        }
        about = "The simulated model, which is no model at all." if up.is_made_up else "A configured upstream."
        return self._wanted(PassportType.COMPUTE, passport_id, up, name=up.name, about=about, metadata=metadata)

    def _model(self, up: ConfiguredUpstream, name: str, runtime: str) -> _Wanted:
        passport_id = self._passport_of(PassportType.MODEL, *_names(up), name)
        metadata = {
            "schema_version": "1.0",
            "model_passport_id": passport_id,
            "format": "api",
            "api_model_id": name,
            "name": name,
            "provider": up.name,
            "base": "custom_endpoint",
            "runtime_recommended": runtime,
            "endpoints": {"openai_compat_base_url": up.base_url, "auth_mode": "lucid_key" if up.api_key else "none"},
        }
        about = "Simulated: its answers are made up." if up.is_made_up else f"Served by the upstream {up.name}."
        return self._wanted(PassportType.MODEL, passport_id, up, name=name, about=about, metadata=metadata)

    def _wanted(
        self,
        type: PassportType,  # noqa: A002 - the API's word
        passport_id: str,
        up: ConfiguredUpstream,
        *,
        name: str,
        about: str,
        metadata: dict[str, Any],
    ) -> _Wanted:
        tags = (CONFIGURED, SIMULATED) if up.is_made_up else (CONFIGURED,)
        draft = Draft(type, self._owner, metadata, name=name, description=about, tags=tags)
        return _Wanted(passport_id, draft, up.simulated)

    # -- what is done

    def _applied(self, tx: Tx, there: Mapping[str, Passport], wanted: Mapping[str, _Wanted]) -> Registered:
        created = [item.passport_id for item in wanted.values() if item.passport_id not in there]
        for passport_id in created:
            self._create(tx, wanted[passport_id])
        met = [
            (passport, wanted[passport.passport_id]) for passport in there.values() if passport.passport_id in wanted
        ]
        changed = [passport.passport_id for passport, item in met if self._change(tx, passport, item)]
        back = [passport for passport, _ in met if passport.status is PassportStatus.DEPRECATED]
        gone = [p for p in there.values() if p.passport_id not in wanted and p.status is PassportStatus.ACTIVE]
        for passport in back:
            self._passports.move(tx, passport, PassportEvent.RESTORED)
        for passport in gone:
            self._passports.move(tx, passport, PassportEvent.DEPRECATED)
        return Registered(
            tuple(created),
            tuple(changed),
            tuple(passport.passport_id for passport in gone),
            tuple(passport.passport_id for passport in back),
            standing=len(wanted),
        )

    def _create(self, tx: Tx, item: _Wanted) -> None:
        made = store.insert(
            tx,
            item.draft,
            passport_id=item.passport_id,
            tenant=OPERATOR,
            metadata_hash=hash_of(item.draft.metadata),
            simulated=item.simulated,
            configured=True,
        )
        self._passports.begin(tx, made)

    def _change(self, tx: Tx, passport: Passport, item: _Wanted) -> bool:
        """Have the row say what is wanted; False where it does, or is revoked and so says nothing any more."""
        draft = item.draft
        altered = replace(
            passport,
            owner=draft.owner,
            name=draft.name,
            description=draft.description,
            tags=draft.tags,
            metadata=draft.metadata,
            metadata_hash=hash_of(draft.metadata),
        )
        if altered == passport or passport.status is PassportStatus.REVOKED:
            return False
        store.update(tx, altered)
        return True


def _names(up: ConfiguredUpstream) -> tuple[str, ...]:
    return (SIMULATED, up.base_url) if up.simulated else (up.base_url,)


def _known_before(up: ConfiguredUpstream, there: Iterable[Passport]) -> list[str]:
    """Return the models that were registered for an upstream, when it last said which it has."""
    return [
        passport.name
        for passport in there
        if passport.type is PassportType.MODEL
        and passport.status is PassportStatus.ACTIVE
        and passport.simulated is up.simulated
        and passport.metadata["endpoints"]["openai_compat_base_url"] == up.base_url
    ]


def _runtime(up: ConfiguredUpstream, listed: tuple[ListedModel, ...] | None, before: Passport | None) -> str:
    """Return what serves there, as far as it says so; what it said before, where it says nothing now."""
    if listed is None:
        return str(before.metadata["runtimes"][0]["name"]) if before else OPENAI_COMPATIBLE
    if urlsplit(up.base_url).hostname == OPENAI_HOST:
        return "openai"
    owners = {model.owner for model in listed}
    return RUNTIMES_BY_OWNER.get(owners.pop(), OPENAI_COMPATIBLE) if len(owners) == 1 else OPENAI_COMPATIBLE
