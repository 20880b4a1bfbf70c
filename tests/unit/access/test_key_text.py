"""The text of an API key: its form, its check digits, and that nothing else passes for one."""

from __future__ import annotations

import hashlib
import os

import pytest

from shared.access.keys import is_well_formed, key_text
from shared.access.model import Mode

CHANCE = bytes(range(28))


@pytest.mark.parametrize("mode", list(Mode))
def test_a_key_is_its_mode_56_digits_of_chance_and_8_that_check_them(mode: Mode) -> None:
    text = key_text(mode, CHANCE)
    stem = f"lk_{mode}_{CHANCE.hex()}"
    assert text == stem + hashlib.sha256(stem.encode()).hexdigest()[:8]
    assert len(text) == len("lk_live_") + 64
    assert is_well_formed(text)


def test_no_other_mode_prefix_or_length_passes() -> None:
    text = key_text(Mode.LIVE, CHANCE)
    for wrong in (
        "",
        text[:-1],
        text + "0",
        text.upper(),
        text.replace("lk_live_", "lk_test_"),
        text.replace("lk_live_", "lk_best_"),
        text.replace("lk_", "sk_"),
        text + "\n",
        " " + text,
        text.replace("0", "\u0660"),
        "lk_live_" + "0" * 64,
    ):
        assert not is_well_formed(wrong), wrong


def test_one_wrong_digit_is_seen_wherever_it_is() -> None:
    text = key_text(Mode.TEST, os.urandom(28))
    for at in range(len("lk_test_"), len(text)):
        other = "0" if text[at] != "0" else "1"
        assert not is_well_formed(text[:at] + other + text[at + 1 :])
