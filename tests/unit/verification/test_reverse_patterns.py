"""Domain constraints are met on whole words, and only those that make sense in the language."""

from __future__ import annotations

import pytest

from shared.verification.patterns import PATTERNS, matching


def _descriptions(text: str, language: str = "typescript") -> str:
    return "\n".join(rule.description for rule in matching(text, language))


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("a rapid answer", "http"),
        ("user feedback", "sql"),
        ("a specialist", "collections"),
        ("profile of a person", "files"),
        ("an author's name", "authentication"),
        ("discounted", "counters"),
        ("a streetmap_entry", "collections"),
    ],
)
def test_a_word_inside_another_word_announces_nothing(text: str, domain: str) -> None:
    [pattern] = [one for one in PATTERNS if one.domain == domain]
    assert not {rule.description for rule in pattern.rules} & set(_descriptions(text).splitlines())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Query the DB by id", "bound parameters"),
        ("call our API", "timeout"),
        ("a rate-limiter", "outside the window"),
        ("Rate\nlimiter", "outside the window"),
        ("an LRU cache", "Bound the size"),
        ("parse JSON", "Evaluate input as code"),
    ],
)
def test_a_whole_word_announces_its_domain(text: str, words: str) -> None:
    assert words in _descriptions(text)


def test_a_rule_of_one_language_is_never_given_for_another() -> None:
    text = " ".join(word for pattern in PATTERNS for word in pattern.words)
    script, python = _descriptions(text, "javascript"), _descriptions(text, "python")
    for words in ("JSON.parse", "Math.random", "promise", "UTF-16", "Map,"):
        assert words in script
        assert words not in python
    for words in ("mutable default", "collections.OrderedDict", "random module"):
        assert words in python
        assert words not in script


def test_every_domain_has_rules_in_every_language() -> None:
    assert len(PATTERNS) == len({pattern.domain for pattern in PATTERNS}) == 18
    for pattern in PATTERNS:
        for language in ("python", "javascript", "typescript", "go"):
            assert any(rule.is_for(language) for rule in pattern.rules)


def test_examples_are_in_a_language_that_the_rule_is_for() -> None:
    for pattern in PATTERNS:
        for rule in pattern.rules:
            assert all(rule.is_for(language) for language in rule.examples)


def test_no_two_rules_say_the_same() -> None:
    said = [rule.description for pattern in PATTERNS for rule in pattern.rules]
    assert len(said) == len(set(said))
