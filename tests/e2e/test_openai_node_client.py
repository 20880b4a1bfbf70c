"""OpenAI's own Node package, unmodified, with our base URL. It is fetched from the machine's package index, at one version."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.gateway_hand import MODEL, Gateway

PACKAGE = "openai@7.57.0"
SCRIPT = Path(__file__).with_name("openai_node_client.mjs")
_INSTALL_S = 120
_RUN_S = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which the package is installed."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not on PATH")
    made = tmp_path_factory.mktemp("node")
    (made / "package.json").write_text('{"private": true}', encoding="ascii")
    command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--save-exact", PACKAGE]
    installed = subprocess.run(command, cwd=made, capture_output=True, text=True, timeout=_INSTALL_S, check=False)
    if installed.returncode != 0:
        pytest.skip(f"the package index gives no {PACKAGE}: {installed.stderr[-300:]}")
    shutil.copy(SCRIPT, made)
    return made


def test_the_node_client_completes_streams_calls_tools_and_knows_each_refusal(gateway: Gateway, folder: Path) -> None:
    seen = told_by_node(folder, gateway)
    assert MODEL in seen["models"]
    completion = seen["completion"]
    assert completion["choices"][0]["message"]["content"].startswith("Simulated answer")
    assert completion["lucid"]["receipt_id"] == completion["id"]
    assert seen["stream"]["text"].startswith("Simulated answer")
    assert (seen["stream"]["finish"], seen["stream"]["usage"]["completion_tokens"] > 0) == ("stop", True)
    for call in (seen["tool"], seen["streamedTool"]):
        assert (call["name"], set(json.loads(call["arguments"]))) == ("find_weather", {"town"})
    assert set(json.loads(seen["document"])) == {"name"}
    assert seen["refusals"] == {
        "key": refused("AuthenticationError", 401, "invalid_api_key"),
        "model": refused("NotFoundError", 404, "model_not_found", "model"),
        "parameter": refused("BadRequestError", 400, "invalid_request", "n"),
        "policy": refused("UnprocessableEntityError", 422, "no_compatible_compute"),
        "upstream": refused("InternalServerError", 503, "connection"),
        "streamed": refused("InternalServerError", 503, "connection"),
        "timeout": refused("APIConnectionTimeoutError", None, None),
    }


def refused(kind: str, status: int | None, code: str | None, param: str | None = None) -> dict[str, Any]:
    return {"class": kind, "status": status, "code": code, "param": param}


def told_by_node(folder: Path, gateway: Gateway) -> Any:
    proxies = {name: "" for name in os.environ if name.lower().endswith("_proxy")}
    command = ["node", SCRIPT.name, f"{gateway.url}/v1", gateway.key, MODEL]
    told = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **proxies},
        capture_output=True,
        text=True,
        timeout=_RUN_S,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)
