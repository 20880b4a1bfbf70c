"""What the operator's settings say about callers: a short admin key is refused, an open gateway in production is pointed out."""

from __future__ import annotations

import pytest

from cli.doctor import access
from cli.findings import Level
from config.settings import Settings, SettingsError
from tests.architecture.settings_page import filled_in


def settings(**changed: str) -> Settings:
    return Settings.load({**filled_in(), **changed})


def test_by_default_nobody_calls_without_a_key_and_nobody_has_the_admin_key() -> None:
    assert (settings().anonymous_calls, settings().admin_key) == (False, "")


def test_an_admin_key_of_less_than_32_characters_is_refused_at_the_start() -> None:
    assert settings(ADMIN_KEY="x" * 32).admin_key == "x" * 32
    with pytest.raises(SettingsError, match="ADMIN_KEY must have at least 32 characters"):
        settings(ADMIN_KEY="x" * 31)


@pytest.mark.parametrize(
    ("env", "allows", "level"),
    [
        ("production", "true", Level.WARNING),
        ("production", "false", Level.OK),
        ("embedded", "true", Level.OK),
    ],
)
def test_the_doctor_warns_where_production_answers_without_a_key(env: str, allows: str, level: Level) -> None:
    (found,) = access(settings(LUCID_ENV=env, ANONYMOUS_CALLS=allows))
    assert found.level is level
    assert bool(found.remedy) == (level is Level.WARNING)
