"""`lucid keys`: what it makes the service takes, what it withdraws the service refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from flask.testing import FlaskClient

from devstack.parts import ROOT
from devstack.supervisor import Stack

KEYS = "/v1/admin/keys"


class Command:
    """Runs `lucid keys` with the service's own environment."""

    def __init__(self, stack: Stack) -> None:
        self._environment = dict(stack.environment)

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Return what the command writes on stdout."""
        command = [sys.executable, "-m", "cli.main", "keys", *arguments]
        ran = subprocess.run(command, cwd=ROOT, env=self._environment, capture_output=True, text=True, timeout=60)
        assert ran.returncode == code, ran.stderr
        return ran.stdout

    def told(self, *arguments: str) -> dict[str, Any]:
        """Return its one JSON object."""
        return dict(json.loads(self(*arguments, "--json")))


@pytest.fixture
def keys(stack: Stack) -> Command:
    return Command(stack)


def status(client: FlaskClient, key: str) -> int:
    return client.get(KEYS, headers={"Authorization": f"Bearer {key}"}).status_code


def test_a_key_is_made_exchanged_and_withdrawn_by_command(keys: Command, client: FlaskClient) -> None:
    made = keys.told("create", "--mode", "live", "--scope", "admin", "--tenant", "by-command", "--label", "first")
    assert made["key"].startswith("lk_live_")
    assert (made["tier"], made["scopes"], made["tenant"], made["label"]) == ("free", ["admin"], "by-command", "first")
    assert status(client, made["key"]) == 200
    successor = keys.told("rotate", made["id"])
    assert (successor["rotated_from"], successor["label"]) == (made["id"], "first")
    assert (status(client, made["key"]), status(client, successor["key"])) == (401, 200)
    listed = keys.told("list", "--tenant", "by-command")["keys"]
    assert [key["id"] for key in listed] == [successor["id"], made["id"]]
    assert all("key" not in key for key in listed)
    assert keys.told("revoke", successor["id"])["revoked_at"]
    assert status(client, successor["key"]) == 401


def test_for_people_the_key_stands_alone_on_stdout(keys: Command) -> None:
    (key,) = keys("create", "--mode", "test").split()
    assert key.startswith("lk_test_")


def test_a_refusal_says_why_and_ends_with_1_a_wrong_command_line_with_2(keys: Command) -> None:
    assert json.loads(keys("revoke", "key_unknown", "--json", code=1)) == {"error": "there is no such key"}
    keys("create", code=2)
