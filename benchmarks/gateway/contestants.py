"""Who is measured: the gateway, its peer with one and with two workers, and the upstream itself, called directly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http import HTTPStatus

from benchmarks.costs import processes
from benchmarks.gateway import litellm, prompts
from benchmarks.gateway.caller import Door, ask_all, require
from benchmarks.ground import Ground
from benchmarks.program import await_true, running_command
from devstack.parts import ROOT
from devstack.ports import Ports
from devstack.procfile import read_procfile
from shared.access.model import Mode, Scope, Tier

PATH = "/v1/chat/completions"
WORKER = "worker-inference"
SIM = "sim-model"
PEER_WORKERS = (1, 2)
OURS, DIRECT = "the gateway", "the upstream itself"
_WARM_CALLS, _WARM_STREAMS, _WARM_AT_ONCE = 100, 40, 16


@dataclass(frozen=True)
class Contestant:
    """One of them: its door, and its processes by name, the upstream's among them."""

    name: str
    door: Door
    pids: dict[str, int]


@dataclass(frozen=True)
class Field:
    """All of them."""

    direct: Contestant
    ours: Contestant
    peers: tuple[Contestant, ...]

    @property
    def all(self) -> tuple[Contestant, ...]:
        """Return them in the order in which they take turns."""
        return (self.direct, self.ours, *self.peers)

    @property
    def gateways(self) -> tuple[Contestant, ...]:
        """Return those that stand before the upstream."""
        return (self.ours, *self.peers)


@contextmanager
def open_field(ground: Ground) -> Iterator[Field]:
    """Bring up the peers and a second worker process of ours, and warm everyone with calls and streams alike."""
    upstream = str(ground.stack.endpoints["sim_llm"])
    sim = {SIM: processes(ground)[SIM]}
    with ExitStack() as opened:
        second = opened.enter_context(_second_worker(ground))
        field = Field(
            Contestant(DIRECT, Door(upstream + "/chat/completions", {}), sim),
            Contestant(OURS, _door(ground), processes(ground) | {f"{WORKER}, the second": second}),
            tuple(opened.enter_context(_peer(ground, upstream, workers, sim)) for workers in PEER_WORKERS),
        )
        for contestant in field.all:
            _await_first_answer(contestant.door, contestant.name)
            _warm(contestant)
        yield field


def _door(ground: Ground) -> Door:
    """Our door, with a key as a customer has it, of a model that the catalogue was told of."""
    ground.container.probing.sync()
    issued = ground.container.api_keys.create(mode=Mode.LIVE, tier=Tier.TEAM, scopes=[Scope.INFERENCE], label="bench")
    return Door(ground.web + PATH, {"Authorization": f"Bearer {issued.text}"})


@contextmanager
def _peer(ground: Ground, upstream: str, workers: int, sim: dict[str, int]) -> Iterator[Contestant]:
    port = Ports(ground.folder / "litellm-ports.json").of(f"litellm-{workers}")
    with litellm.running(ground, upstream, port=port, workers=workers) as (door, pid):
        name = f"LiteLLM, {workers} worker" + ("s" if workers > 1 else "")
        yield Contestant(name, door, {name: pid, **sim})


@contextmanager
def _second_worker(ground: Ground) -> Iterator[int]:
    """Run the Procfile's line for inference once more, as an operator does who scales it to two."""
    line = read_procfile(ROOT / "Procfile")[WORKER].replace("@%h", "-too@%h")
    with running_command(["/bin/sh", "-c", line], ground.environment, log=ground.folder / "second.log") as process:
        yield process.pid


def _await_first_answer(door: Door, whose: str) -> None:
    await_true(lambda: _answers(door), what=f"the first answer of {whose}", within_s=litellm.START_S)


def _answers(door: Door) -> bool:
    try:
        return ask_all(door, [prompts.call(0, tokens=1)], connections=1)[0].status == HTTPStatus.OK
    except OSError:
        return False


def _warm(contestant: Contestant) -> None:
    calls = [prompts.call(number, tokens=4) for number in range(_WARM_CALLS)]
    streams = [prompts.stream(number, tokens=8) for number in range(_WARM_STREAMS)]
    for heard in ask_all(contestant.door, [*calls, *streams], connections=_WARM_AT_ONCE):
        require(heard.status == HTTPStatus.OK, f"{contestant.name} answered {heard.status} while it was warmed")
