"""The settings' upstreams: read, and their keys given for exactly their own addresses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from config.settings import Settings
from shared.access.model import OPERATOR as OPERATOR_OF_ACCESS
from shared.access.model import Mode
from shared.catalog.model import OPERATOR, TEST_MODE
from shared.catalog.upstreams import Upstreams
from tests.architecture.settings_page import filled_in


@pytest.fixture
def settings() -> Settings:
    return replace(
        Settings.load(filled_in()),
        openai_base_url="http://agent.example.com/v1",
        openai_api_key="agent-key",
        eval_model="judge",
        work_model="worker",
        sim_openai_base_url="http://127.0.0.1:5/v1",
        upstreams="",
    )


def test_the_agents_upstream_comes_first_and_the_simulated_one_has_no_key(settings: Settings) -> None:
    agent, simulated = Upstreams.of(settings).all
    assert (agent.name, agent.models, agent.simulated) == ("default", ("judge", "worker"), False)
    assert (simulated.name, simulated.api_key, simulated.models, simulated.simulated) == ("simulated", "", (), True)


def test_one_model_for_both_is_named_once(settings: Settings) -> None:
    assert Upstreams.of(replace(settings, work_model="judge")).all[0].models == ("judge",)


def test_more_upstreams_are_read_with_their_keys_taken_out_of_their_addresses(settings: Settings) -> None:
    listed = "local=http://10.0.0.5:8000/v1/, other-one=https://sk%2Fa%3Db%2C@api.example.com/v1"
    upstreams = Upstreams.of(replace(settings, upstreams=listed))
    _, _, local, other = upstreams.all
    assert (local.name, local.base_url, local.api_key) == ("local", "http://10.0.0.5:8000/v1", "")
    assert (other.name, other.base_url, other.api_key) == ("other-one", "https://api.example.com/v1", "sk/a=b,")
    assert "sk/a" not in repr(upstreams)


def test_a_key_is_for_exactly_its_own_address(settings: Settings) -> None:
    upstreams = Upstreams.of(settings)
    assert upstreams.key_for("http://agent.example.com/v1") == "agent-key"
    assert upstreams.is_configured("http://agent.example.com/v1")
    for other in (
        "http://agent.example.com/v1/",
        "https://agent.example.com/v1",
        "http://agent.example.com.evil.example/v1",
        "http://agent.example.com/v1@evil.example/v1",
        "http://AGENT.example.com/v1",
        "",
    ):
        assert upstreams.key_for(other) == ""
        assert not upstreams.is_configured(other)


def test_an_address_that_is_named_twice_is_one_upstream(settings: Settings) -> None:
    twice = replace(
        settings, upstreams="again=http://agent.example.com/v1", sim_openai_base_url=settings.openai_base_url
    )
    assert [(upstream.name, upstream.simulated) for upstream in Upstreams.of(twice).all] == [
        ("default", False),
        ("simulated", True),
    ]


@pytest.mark.parametrize(
    "listed",
    [
        "http://no-name.example.com/v1",
        "a=",
        "a=ftp://host/v1",
        "a=http://host/v1?key=SECRET",
        "a b=http://host/v1",
        "a=http://SECRET@host/v1,a=http://other/v1",
        "default=http://SECRET@host/v1",
        "simulated=http://SECRET@host/v1",
    ],
)
def test_a_malformed_list_is_refused_without_telling_a_key(settings: Settings, listed: str) -> None:
    with pytest.raises(ValueError, match="UPSTREAMS") as refused:
        Upstreams.of(replace(settings, upstreams=listed))
    assert "SECRET" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_access_and_catalogue_mean_the_same_operator_and_the_same_mode() -> None:
    assert (OPERATOR, TEST_MODE) == (OPERATOR_OF_ACCESS, Mode.TEST)
