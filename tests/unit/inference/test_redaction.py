"""Personal data is taken out of texts, whole or streamed, and never by halves."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.inference.redaction import WINDOW, RedactionFailed, Redactor, StreamRedactor

FOUND = {
    "write to john.doe+x@mail.example.com, please": "write to [email], please",
    "user@münchen.example and Ω@example.org": "[email] and [email]",
    "call +49 (0)30 901820 now": "call [phone] now",
    "0049 30 901820; 030 901820; 0171 1234567; 01711234567": "[phone]; [phone]; [phone]; [phone]",
    "(415) 555-2671, 415-555-2671, 415.555.2671, 415 555 2671, 4155552671": "[phone], [phone], [phone], [phone], [phone]",
    "1-800-555-0199 and +1 555 123 4567 and 555-123-4567": "[phone] and [phone] and [phone]",
    "+44 20 7946 0018, 020 7946 0018, +33 6 12 34 56 78, 06 12 34 56 78": "[phone], [phone], [phone], [phone]",
    "card 4111 1111 1111 1111 or 4111-1111-1111-1111 or 5555555555554444": "card [card] or [card] or [card]",
    "amex 3782 822463 10005, 378282246310005, diners 3056 930902 5904": "amex [card], [card], diners [card]",
    "4111 1111 1111 1111 123 is card and code": "[card] 123 is card and code",
    "４１１１ １１１１ １１１１ １１１１": "[card]",
    "DE89 3704 0044 0532 0130 00, GB29NWBK60161331926819.": "[iban], [iban].",
    "de89370400440532013000 MT84 MALT 0110 0001 2345 MTLC AST0 01S": "[iban] [iban]",
    "SSN 123-45-6789, 078-05-1120, 536 90 4399": "SSN [id], [id], [id]",
    "12345678Z X1234567L RSSMRA85T10A562S BOXW310820HNERXN09": "[id] [id] [id] [id]",
    "390.533.447-05, 756.9217.0769.85, 131052-308T, 880320-0016": "[id], [id], [id], [id]",
    "2 55 08 14 168 025 38, 44051401359, 36574261809, 360426199101010071, AB 12 34 56 C": "[id], [id], [id], [id], [id]",
    "192.168.1.1, 8.8.8.8:53, 2001:db8::1, [fe80::1]:443, ::ffff:10.0.0.1": "[ip], [ip]:53, [ip], [[ip]]:443, [ip]",
    "0151 4111 1111 1111 1111": "[phone]",
    "7,Ann,4111111111111111,4155552671,12\n8,5555555555554444,01711234567,3": "7,Ann,[card],[phone],12\n8,[card],[phone],3",
    '{"card":4111111111111111,"mail":"a@b.example","tel":"+493090182012"}': '{"card":[card],"mail":"[email]","tel":"[phone]"}',
}
LEFT = (
    "The quick brown fox. C++: std::vector, a[::2], x@y, react@18.2.0, @decorator",
    "2019 2020 2021 2022, 2024-01-15 08:30:00, 12.05.2024, 1700000000, 1700000000000",
    "pi is 3.14159265358979, 0.1234567890123456 and 1.2.3; 00:1a:2b:3c:4d:5e; pages 123-4567",
    "20 30 40 50 60 70 80 90 100; ISBN 978-3-16-148410-0; order 12345; 4111 1111 1111 1112",
    "GB28 NWBK 6016 1331 9268 19; 390.533.447-06; 12345678A; 300.400.500.600",
)


@pytest.mark.parametrize("text", FOUND)
def test_what_has_the_form_of_personal_data_is_replaced(text: str) -> None:
    assert Redactor().text(text) == FOUND[text]


@pytest.mark.parametrize("text", LEFT)
def test_what_only_looks_a_little_like_it_stays(text: str) -> None:
    assert Redactor().text(text) == text


def test_what_is_redacted_stays_as_it_is() -> None:
    once = Redactor().text(" ".join(FOUND))
    assert Redactor().text(once) == once


PIECES = st.sampled_from(
    [
        *("john@x.com", "a.b+c@mail.example.org", "a@b", "b.co@c.com", "@", "user", "x" * 70),
        *("+49", "(0)30", "901820", "030", "(415)", "555-2671", "0049", "+", "(", ")"),
        *("4111", "1111", "4242424242424242", "3782", "822463", "10005", "5", "12", "00"),
        *(
            "DE89",
            "3704",
            "0044",
            "0532",
            "0130",
            "GB29",
            "NWBK",
            "6016",
            "NWBK-",
            "MT84",
            "MALT",
            "MTLC",
            "AST0",
            "01S",
        ),
        *("QQ", "AB", "34", "56", "C", "123-45-6789", "756.9217.0769.85", "12345678Z"),
        *("192.168.1.1", "2001:db8::1", "::", "the", "cat", "hello", "USA", "é", "１１１１", "\n"),
    ]
)
GAPS = st.sampled_from(
    [" ", " ", " ", "", "  ", "\n", "-", ".", " - ", ", ", "\u00a0", "    ", "/", "(", ":", "@", "="]
)
TEXTS = st.lists(st.tuples(PIECES, GAPS), max_size=40).map(lambda pairs: "".join(piece + gap for piece, gap in pairs))


@settings(max_examples=100, deadline=None)
@given(TEXTS | st.text(alphabet="0123456789 +-().@aA:\n", max_size=200), st.data())
def test_however_a_text_is_cut_the_stream_is_the_whole_text(text: str, data: st.DataObject) -> None:
    stream = StreamRedactor()
    sent, rest = [], text
    while rest:
        size = data.draw(st.integers(1, min(len(rest), 40)))
        sent.append(stream.feed(rest[:size]))
        rest = rest[size:]
    assert "".join([*sent, stream.flush()]) == Redactor().text(text)


@pytest.mark.parametrize("text", FOUND)
def test_letter_by_letter_no_part_of_a_finding_leaves(text: str) -> None:
    stream = StreamRedactor()
    shown = ""
    for letter in text:
        shown += stream.feed(letter)
        assert FOUND[text].startswith(shown)
    assert shown + stream.flush() == FOUND[text]


def test_words_leave_as_soon_as_they_end() -> None:
    stream = StreamRedactor()
    assert stream.feed("Hello wor") == "Hello "
    assert stream.feed("ld, how are you? ") == "world, how are you? "
    assert stream.feed("Room 12 ") == "Room "
    assert stream.feed("upstairs ") == "12 upstairs "
    assert stream.flush() == ""


@pytest.mark.parametrize("piece", ["1", "1 ", "a", "a1 ", "12 34 56 ", "(", "+"])
def test_what_is_held_back_is_bounded(piece: str) -> None:
    stream, sent, shown = StreamRedactor(), 0, 0
    for _ in range(40):
        sent += 100 * len(piece)
        shown += len(stream.feed(piece * 100))
        assert sent - shown <= 2 * WINDOW
    assert shown + len(stream.flush()) == sent


HOSTILE = (
    *("1", "1 ", "4 ", "+1 ", "+1234567 ", "1-", "(", "(1)", "4111 ", "4111-1111 ", "01234567 ", "00123456 ", "030 901820 "),
    *("a", "a@", "a@a.", "a" * 64 + "@" + "b" * 63 + ".", "a@" + "b.1" * 40 + " ", ":", "1:", "255.", "fe80:"),
    *("DE89 ", "DE89", "AB12 CD34 EF56 ", "QQ 12 34 ", "12345678901 ", "4155552671 ", "ABCDEF12A12A123", "\u0661", "４１１１ "),
)  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE, ids=lambda piece: repr(piece[:16]))
def test_a_hostile_text_takes_bounded_time(piece: str) -> None:
    """10 kB each, of which the worst takes a tenth of a second: time grows with the length, not with its square."""
    text = (piece * (10_000 // len(piece) + 1))[:10_000]
    began = time.process_time()
    Redactor().text(text)
    assert time.process_time() - began < 2


def test_a_fault_leaves_nothing_and_ends_the_stream() -> None:
    stream = StreamRedactor()
    assert stream.feed("my card is 4111 1111") == "my card is "
    with pytest.raises(RedactionFailed) as caught:
        stream.feed(None)  # type: ignore[arg-type] # what no caller can hand over, as a stand-in for any fault
    assert caught.value.code == "REDACTION_FAILED"
    assert "4111" not in str(caught.value)
    assert caught.value.__cause__ is None
    for call in (lambda: stream.feed(" 1111 1111"), stream.flush):
        with pytest.raises(RedactionFailed):
            call()
