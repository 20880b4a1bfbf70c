"""docker-compose.yml as an operator uses it: read by Compose wherever that is, and up, to the end of a job, where an engine answers.

The sandbox nodes and the simulated model listen on this machine's loopback address alone, so here the services share this machine's
network, on ports that are free, and the image has a name of its own. All else is the file's.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from cli.sandbox import Wallet
from devstack.parts import ROOT
from devstack.procfile import RELEASE, read_procfile
from devstack.supervisor import Stack
from tests.e2e.patience import eventually

STORES = {"postgres", "redis"}
PASSWORDS = {"POSTGRES_PASSWORD": "one-of-postgres", "REDIS_PASSWORD": "one-of-redis"}
FILE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
HANDED_ON = [name for name, value in FILE["x-settings"].items() if value is None]
# A dozen containers start at once, and the first job comes right after.
PATIENT = {"INVOICE_WAIT_S": "30", "MAX_UNPAID_INVOICES": "1000"}
BUILD_S = 1200.0
START_S = 240.0


@dataclass(frozen=True)
class Compose:
    """Runs `docker compose` on these files with the variables of `env_file`, and with none of the shell's."""

    project: str
    env_file: Path
    files: tuple[Path, ...] = (ROOT / "docker-compose.yml",)

    def run(self, *words: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        files = [word for file in self.files for word in ("-f", str(file))]
        command = ["docker", "compose", "-p", self.project, "--env-file", str(self.env_file), *files, *words]
        return docker(*command[1:], timeout_s=timeout_s)


@dataclass(frozen=True)
class Ports:
    """Where the services listen while they share this machine's network."""

    postgres: int
    redis: int
    web: int
    flower: int

    @classmethod
    def free(cls) -> Ports:
        """Find four that nobody listens on, all at once."""
        taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
        numbers = [int(each.getsockname()[1]) for each in taken]
        for each in taken:
            each.close()
        return cls(*numbers)


def docker(*words: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME") or name.startswith("DOCKER_")}
    return subprocess.run(["docker", *words], cwd=ROOT, env=kept, capture_output=True, text=True, timeout=timeout_s)


@pytest.fixture(scope="module")
def compose_is_here() -> None:
    if shutil.which("docker") is None or docker("compose", "version").returncode != 0:
        pytest.skip("`docker compose` is not installed: docker-compose.yml is only read as YAML, in tests/architecture")


@pytest.fixture(scope="module")
def engine_answers(compose_is_here: None) -> None:
    if docker("info").returncode != 0:
        pytest.skip("no Docker engine answers here (`docker info`): the services of docker-compose.yml are not started")


def write_env(path: Path, variables: dict[str, str]) -> Path:
    path.write_text("".join(f"{name}='{value}'\n" for name, value in variables.items()), encoding="utf-8")
    return path


def test_compose_reads_the_file_and_hands_each_variable_on(compose_is_here: None, tmp_path: Path) -> None:
    variables = PASSWORDS | {name: f"the {name} of .env" for name in HANDED_ON}
    env_file = write_env(tmp_path / "env", variables)
    read = Compose("lucid-read", env_file).run("config", "--format", "json")
    assert (read.returncode, read.stderr) == (0, "")
    services = json.loads(read.stdout)["services"]
    lines = read_procfile(ROOT / "Procfile")
    assert set(services) == {*lines, *STORES}
    for name in lines:
        environment = services[name]["environment"]
        apart = ("FLOWER_PORT", "HOST", "PORT", "WEB_CONCURRENCY")
        assert {each: environment[each] for each in HANDED_ON if each not in apart} == {
            each: variables[each] for each in HANDED_ON if each not in apart
        }
        assert PASSWORDS["POSTGRES_PASSWORD"] in environment["DATABASE_URL"]
        assert PASSWORDS["REDIS_PASSWORD"] in environment["REDIS_URL"]


@pytest.mark.parametrize("missing", PASSWORDS)
def test_compose_starts_nothing_without_a_password(compose_is_here: None, tmp_path: Path, missing: str) -> None:
    env_file = write_env(tmp_path / "env", {name: value for name, value in PASSWORDS.items() if name != missing})
    read = Compose("lucid-read", env_file).run("config", "--quiet")
    assert read.returncode != 0
    assert missing in read.stderr


@pytest.fixture(scope="module")
def ports() -> Ports:
    return Ports.free()


@pytest.fixture(scope="module")
def outside(engine_answers: None, ports: Ports, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """What the operator brings: a node, a model, a witness. The stores are Compose's."""
    stores = {
        "DATABASE_URL": f"postgresql://lucid:{PASSWORDS['POSTGRES_PASSWORD']}@127.0.0.1:{ports.postgres}/lucid",
        "REDIS_URL": f"redis://:{PASSWORDS['REDIS_PASSWORD']}@127.0.0.1:{ports.redis}/0",
    }
    environment = {**PATIENT, **stores, "PATH": os.environ["PATH"], "PORT": "0"}
    with Stack(tmp_path_factory.mktemp("outside"), environment, real_model=False, processes=(), migrate=False) as stack:
        yield stack


@pytest.fixture(scope="module")
def compose(outside: Stack, ports: Ports, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    """The project, up. Afterwards its containers, volumes and image are gone."""
    folder = tmp_path_factory.mktemp("compose")
    given = {name: outside.environment[name] for name in HANDED_ON if name in outside.environment}
    certificate = Path(given["LND_TLS_CERT"]).read_text(encoding="ascii").replace("\n", "\\n")
    env_file = write_env(folder / "env", PASSWORDS | given | {"LND_TLS_CERT": certificate})
    project = f"lucid-test-{uuid.uuid4().hex[:8]}"
    (folder / "here.yml").write_text(on_this_machines_network(project, outside.environment, ports), encoding="utf-8")
    compose = Compose(project, env_file, (ROOT / "docker-compose.yml", folder / "here.yml"))
    try:
        up = compose.run("up", "--build", "--detach", timeout_s=BUILD_S)
        assert up.returncode == 0, up.stdout + up.stderr + compose.run("logs", "--tail", "40").stdout
        yield compose
    finally:
        down = compose.run("down", "--volumes", "--timeout", "40", timeout_s=180)
        docker("image", "rm", "--force", project)
    assert down.returncode == 0, down.stderr
    left = docker("ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={project}")
    assert left.stdout == ""


def test_a_job_is_done_by_the_services_of_compose(compose: Compose, outside: Stack, ports: Ports) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{ports.web}", timeout=40, trust_env=False) as api:
        try:
            eventually(lambda: is_ready(api), what="a ready web process", within_s=START_S)
            receipt_id = bought(api, Wallet(outside.endpoints["wallet"]))
        except AssertionError:
            print(compose.run("logs", "--tail", "40").stdout)  # pytest shows it with the failure
            raise
        signed = api.get(f"/v1/receipts/{receipt_id}")
        assert signed.status_code == httpx.codes.OK
    flower = httpx.get(f"http://127.0.0.1:{ports.flower}/", trust_env=False)
    assert flower.status_code == httpx.codes.UNAUTHORIZED
    assert states(compose) == {
        **dict.fromkeys((*read_procfile(ROOT / "Procfile"), *STORES), ("running", 0)),
        RELEASE: ("exited", 0),
    }


def test_what_the_services_keep_outlives_their_containers(compose: Compose, outside: Stack, ports: Ports) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{ports.web}", timeout=40, trust_env=False) as api:
        eventually(lambda: is_ready(api), what="a ready web process", within_s=START_S)
        job = api.post("/api/jobs", json={"request": "Say something short."}).json()["jobId"]
    stopped = compose.run("down", "--timeout", "40", timeout_s=180)
    assert stopped.returncode == 0, stopped.stderr
    started = compose.run("up", "--detach", timeout_s=START_S)
    assert started.returncode == 0, started.stderr
    with httpx.Client(base_url=f"http://127.0.0.1:{ports.web}", timeout=40, trust_env=False) as api:
        eventually(lambda: is_ready(api), what="a ready web process", within_s=START_S)
        assert api.get(f"/api/jobs/{job}").json()["state"] == "awaiting_eval_payment"


def on_this_machines_network(image: str, settings: dict[str, str], ports: Ports) -> str:
    """Return the file that goes over the project's: the network, where each service listens, and the image's name."""
    where = {name: settings[name] for name in ("DATABASE_URL", "REDIS_URL")}
    build = {} if docker("network", "inspect", "bridge").returncode == 0 else {"build": {"network": "host"}}
    services: dict[str, dict[str, Any]] = {
        name: {"image": image, "environment": dict(where), **build} for name in FILE["services"] if name not in STORES
    }
    redis, web = FILE["services"]["redis"], FILE["services"]["web"]
    services["postgres"] = {
        "environment": {"PGPORT": str(ports.postgres)},
        "command": ["postgres", "-c", "listen_addresses=127.0.0.1"],
    }
    services["redis"] = {
        "command": [*redis["command"][:2], f"{redis['command'][2]} --bind 127.0.0.1 --port {ports.redis}"],
        "healthcheck": {"test": replaced(redis["healthcheck"]["test"], "valkey-cli", f"valkey-cli -p {ports.redis}")},
    }
    services["web"]["environment"] |= {"PORT": str(ports.web), "HOST": "127.0.0.1", "WEB_CONCURRENCY": "1"}
    services["web"]["healthcheck"] = {"test": replaced(web["healthcheck"]["test"], ":3001/", f":{ports.web}/")}
    services["flower"]["environment"] |= {"FLOWER_PORT": str(ports.flower), "HOST": "127.0.0.1"}
    for service in services.values():
        service["network_mode"] = "host"
    written: str = yaml.safe_dump({"services": services})
    for name in ("web", "flower"):  # a port of the machine's own network can't be published
        written = written.replace(f"\n  {name}:\n", f"\n  {name}:\n    ports: !reset []\n")
    return written


def replaced(words: list[str], old: str, new: str) -> list[str]:
    changed = [word.replace(old, new) for word in words]
    assert changed != words
    return changed


def bought(api: httpx.Client, wallet: Wallet) -> str:
    """Buy a job; return its receipt's id."""
    created = api.post("/api/jobs", json={"request": "Say something short."})
    assert created.status_code == httpx.codes.CREATED, created.text
    job = str(created.json()["jobId"])

    def reached(state: str) -> dict[str, Any] | None:
        shown: dict[str, Any] = api.get(f"/api/jobs/{job}").json()
        assert shown["state"] not in ("failed", "rejected"), shown
        return shown if shown["state"] == state else None

    try:
        wallet.pay(created.json()["evalInvoice"]["paymentRequest"])
        waiting = eventually(lambda: reached("awaiting_work_payment"), what="a work invoice", within_s=60)
        wallet.pay(waiting["workInvoice"]["paymentRequest"])
        return str(eventually(lambda: reached("complete"), what="a complete job", within_s=60)["receiptId"])
    finally:
        wallet.close()


def states(compose: Compose) -> dict[str, tuple[str, int]]:
    """Return each service's state and exit code."""
    listed = compose.run("ps", "--all", "--format", "json")
    assert listed.returncode == 0, listed.stderr
    containers = [json.loads(line) for line in listed.stdout.splitlines()]
    return {each["Service"]: (each["State"], each["ExitCode"]) for each in containers}


def is_ready(api: httpx.Client) -> bool:
    try:
        return api.get("/health/ready").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
