"""The model APIs that the settings name: where they are, what opens them, what they are known to serve."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit, urlunsplit

from config.settings import Settings
from shared.catalog.addresses import require_web_address
from shared.catalog.model import SIMULATED
from shared.kernel.errors import InvalidInput

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class ConfiguredUpstream:
    """One model API of the operator's. `models`: what it serves whether or not it lists it.

    `simulated`: for test keys. `is_made_up`: its answers are, whoever it is for; live calls of an embedded stack without a model
    of its own go to the simulated one, too.
    """

    name: str
    base_url: str
    api_key: str = field(repr=False)
    models: tuple[str, ...] = ()
    simulated: bool = False
    is_made_up: bool = False


@dataclass(frozen=True)
class Upstreams:
    """All of them: that of the paid agent first, then the simulated one, then those of `UPSTREAMS` in their order."""

    all: tuple[ConfiguredUpstream, ...]

    @classmethod
    def of(cls, settings: Settings) -> Upstreams:
        """Read the settings. Raises `ValueError` where `UPSTREAMS` is not `name=url,…`; no message holds a key."""
        found = [_of_the_agent(settings)]
        if settings.sim_openai_base_url:
            found.append(
                ConfiguredUpstream(SIMULATED, settings.sim_openai_base_url, "", simulated=True, is_made_up=True)
            )
        for entry in filter(None, (entry.strip() for entry in settings.upstreams.split(","))):
            found.append(_listed(entry, number=len(found)))
        if len({upstream.name for upstream in found}) != len(found):
            raise ValueError(f"UPSTREAMS: a name is given twice, or is {DEFAULT!r} or {SIMULATED!r}")
        return cls(tuple(_once_each(found)))

    def key_for(self, base_url: str) -> str:
        """Return the key of exactly this configured address; for any other, a tenant's node's among them, an empty one."""
        return next((upstream.api_key for upstream in self.all if upstream.base_url == base_url), "")

    def is_configured(self, base_url: str) -> bool:
        """Tell whether this is exactly the address of one of them."""
        return any(upstream.base_url == base_url for upstream in self.all)


def _of_the_agent(settings: Settings) -> ConfiguredUpstream:
    models = tuple(dict.fromkeys((settings.eval_model, settings.work_model)))
    is_made_up = settings.openai_base_url == settings.sim_openai_base_url
    return ConfiguredUpstream(DEFAULT, settings.openai_base_url, settings.openai_api_key, models, is_made_up=is_made_up)


def _listed(entry: str, *, number: int) -> ConfiguredUpstream:
    """Read `name=https://KEY@host/v1`. The key is percent-decoded, so that any can be written."""
    name, _, url = entry.partition("=")
    try:
        parts = urlsplit(url.strip())
        bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        require_web_address(bare, field="UPSTREAMS", is_base=True)
    except (ValueError, InvalidInput):
        raise ValueError(f"UPSTREAMS: entry {number} is not name=http(s)://[key@]host/path") from None
    if not name.strip().isidentifier() and not name.strip().replace("-", "_").isidentifier():
        raise ValueError(f"UPSTREAMS: entry {number} needs a name of letters, digits, - and _")
    return ConfiguredUpstream(name.strip(), bare.rstrip("/"), unquote(parts.netloc.rpartition("@")[0].lstrip(":")))


def _once_each(found: list[ConfiguredUpstream]) -> list[ConfiguredUpstream]:
    """Leave out an address that an earlier one has; the simulated one is a thing of its own, wherever it is."""
    seen: dict[tuple[str, bool], ConfiguredUpstream] = {}
    for upstream in found:
        seen.setdefault((upstream.base_url, upstream.simulated), upstream)
    return list(seen.values())
