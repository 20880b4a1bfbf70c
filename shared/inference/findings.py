"""What personal data looks like, and the checks that tell it from other numbers.

Every pattern is bounded: it matches at most `LONGEST` characters, has no nested repetition over the same characters, and looks at
most two characters beyond its ends. Every number begins at a digit that follows no other, "+" or "(", or with two capitals; so
`shared.inference.redaction` can tell from the end of a text what may still become a finding.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import phonenumbers
from stdnum import iban, luhn
from stdnum.be import nn
from stdnum.br import cpf
from stdnum.ch import ssn as ch_ssn
from stdnum.cn import ric
from stdnum.de import idnr
from stdnum.es import dni, nie
from stdnum.fi import hetu
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.in_ import aadhaar
from stdnum.it import codicefiscale
from stdnum.kr import rrn
from stdnum.mx import curp
from stdnum.pl import pesel
from stdnum.se import personnummer
from stdnum.tr import tckimlik
from stdnum.us import ssn as us_ssn
from stdnum.za import idnr as za_idnr

LONGEST = 640
LONGEST_LOCAL = 64
LOCAL_PUNCTUATION = frozenset("_.%+'’&~=-")

Check = Callable[[str], int]
"""Takes what a pattern matched, digits made plain; returns how much of it, from its start, is a finding: 0 for nothing."""


class Kind(StrEnum):
    """What was found; the value is what stands in its place."""

    EMAIL = "[email]"
    IBAN = "[iban]"
    CARD = "[card]"
    ID = "[id]"
    IP = "[ip]"
    PHONE = "[phone]"


@dataclass(frozen=True)
class Finder:
    """One way in which a kind is written."""

    kind: Kind
    pattern: re.Pattern[str]
    check: Check

    def within(self, text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the findings that start in `text[start:end]`, overlapping ones too; they may end beyond `end`."""
        at = start
        while at < end and (found := self.pattern.search(text, at)) is not None and found.start() < end:
            length = self.check(plain(found.group()))
            if length:
                yield found.start(), found.start() + length
            at = found.start() + 1


class EmailFinder:
    """E-mail addresses, found by their "@": each is looked at once, however long the words around it."""

    kind = Kind.EMAIL

    def within(self, text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the addresses that start in `text[start:end]`; they may end beyond `end`."""
        at = text.find("@", start, end + LONGEST_LOCAL + 1)
        while at >= 0:
            begins = _start_of_local(text, at)
            if start <= begins < min(at, end) and (domain := _DOMAIN.match(text, at + 1)) is not None:
                yield begins, domain.end()
            at = text.find("@", at + 1, end + LONGEST_LOCAL + 1)


def _start_of_local(text: str, at: int) -> int:
    begins = at
    while begins > max(0, at - LONGEST_LOCAL) and (text[begins - 1].isalnum() or text[begins - 1] in LOCAL_PUNCTUATION):
        begins -= 1
    return begins


def plain(text: str) -> str:
    """Return `text` with the digits, spaces, dashes and plus of other scripts as ASCII has them; as long as it was."""
    if text.isascii():
        return text
    return "".join(str(int(character)) if character.isdecimal() else character for character in text.translate(_PLAIN))


def _whole(text: str) -> int:
    return len(text)


def _if(is_valid: Callable[[str], bool]) -> Check:
    return lambda text: len(text) if is_valid(text) else 0


def _one_of(*modules: object) -> Check:
    checks = [module.is_valid for module in modules]  # type: ignore[attr-defined] # each module of stdnum has it
    return lambda text: len(text) if text.isascii() and any(is_valid(text) for is_valid in checks) else 0


def _digits(text: str) -> str:
    return "".join(character for character in text if character.isdecimal())


def _ends(text: str) -> Iterator[int]:
    """Yield where a number may end within `text`: after a word that no word follows directly, the longest first."""
    for end in range(len(text), 0, -1):
        if text[end - 1].isalnum() and (end == len(text) or not text[end].isalnum()):
            yield end


_PLAIN = str.maketrans(
    {**dict.fromkeys("\u00a0\u2009\u202f", " "), **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014", "-"), "\uff0b": "+"}
)
_DOMAIN = re.compile(r"[\w-]{1,63}(?:\.[\w-]{1,63}){0,6}\.(?=[^\W\d_])[\w-]{2,63}")
_CARD_NETWORKS = re.compile(r"4|5[0-8]|2[2-7]|3[0-9]|6[0-9]|8[12]|9792")


def _card(text: str) -> int:
    for end in _ends(text):
        digits = _digits(text[:end])
        if 13 <= len(digits) <= 19 and _CARD_NETWORKS.match(digits) and luhn.is_valid(digits):
            return end
    return 0


def _iban(text: str) -> int:
    for end in _ends(text):
        groups = re.findall(r"[A-Za-z0-9]+", text[:end])
        number = "".join(groups).upper()
        if any(len(group) > 4 and not group.isdecimal() for group in groups[1:]):
            continue  # a word, not a group of a printed number
        if 15 <= len(number) <= 34 and _mod_97(number) == 1 and _is_iban(number):
            return end
    return 0


def _mod_97(number: str) -> int:
    return int("".join(str(int(character, 36)) for character in number[4:] + number[:4])) % 97


def _is_iban(number: str) -> bool:
    try:
        iban.validate(number, check_country=False)
    except iban.ValidationError:
        return False
    return True


def _ipv6(text: str) -> int:
    """Accept what is an address and no slice, scope operator or time of day: two groups or more, one of them long, and a digit."""
    for end in _ends(text):
        groups = [group for group in text[:end].split(":") if group]
        if len(groups) < 2 or not any(len(group) > 2 for group in groups) or not any(map(str.isdecimal, text[:end])):
            continue
        try:
            ipaddress.IPv6Address(text[:end])
        except ValueError:
            continue
        return end
    return 0


def _international(text: str) -> int:
    """Accept a number after "+" or "00": the longest valid one, else the longest that its country's plan has room for."""
    possible = 0
    for end in _ends(text):
        digits = _digits(text[:end].replace("(0)", ""))
        number = _parsed("+" + digits.removeprefix("00"))
        if number is None or not phonenumbers.is_possible_number(number):
            continue
        if phonenumbers.is_valid_number(number):
            return end
        possible = possible or end
    return possible


def _parsed(number: str) -> phonenumbers.PhoneNumber | None:
    try:
        return phonenumbers.parse(number) if 8 <= len(number) <= 17 else None
    except phonenumbers.NumberParseException:
        return None


TRUNK_REGIONS = (
    *("GB", "DE", "FR", "NL", "BE", "CH", "AT", "SE", "FI"),
    *("IT", "IE", "AU", "NZ", "JP", "KR", "IN", "ZA", "TR"),
)
"""Where a national number begins with 0, and is often written so."""


def _national(text: str) -> int:
    """Accept a number with a trunk 0 that the plan of one of `TRUNK_REGIONS` knows."""
    for end in _ends(text):
        digits = _digits(text[:end])
        if 9 <= len(digits) <= 12 and (_plans().fullmatch(digits[1:]) or _plans().fullmatch(digits)):
            return end
    return 0


@lru_cache(maxsize=1)
def _plans() -> re.Pattern[str]:
    plans = [phonenumbers.PhoneMetadata.metadata_for_region(region) for region in TRUNK_REGIONS]
    kinds = [kind for plan in plans if plan is not None for kind in (plan.fixed_line, plan.mobile)]
    return re.compile("|".join(f"(?:{kind.national_number_pattern})" for kind in kinds if kind is not None))


def _is_north_american(text: str) -> bool:
    number = _parsed("+1" + _digits(text)[-10:])
    return number is not None and phonenumbers.is_valid_number(number)


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


_BARE = r"(?<!\d)(?<!\d\.)"  # where a number may begin: not inside another, nor behind a decimal point
_GAP = r"[ \t\u00a0\u2009\u202f]"
_DASH = r"[ \t\u00a0\u2009\u202f\-\u2010-\u2014.]"
_PUNCTUATION = r"[ \t\u00a0\u2009\u202f()\-\u2010-\u2014./]"

FINDERS: tuple[EmailFinder | Finder, ...] = (
    EmailFinder(),
    Finder(Kind.IBAN, _pattern(rf"(?<![^\W_])[A-Z]{{2}}\d{{2}}(?:(?:{_GAP}|-)?[A-Z0-9]){{11,30}}"), _iban),
    Finder(Kind.CARD, _pattern(rf"{_BARE}\d{{13,19}}(?!\d)"), _card),
    Finder(
        Kind.CARD,
        _pattern(
            rf"{_BARE}\d{{4}}(?:{_DASH}{{1,2}}\d{{4}}){{2}}{_DASH}{{1,2}}\d{{1,4}}(?:{_DASH}{{1,2}}\d{{1,4}})?(?!\d)"
        ),
        _card,
    ),
    Finder(Kind.CARD, _pattern(rf"{_BARE}\d{{4}}{_DASH}{{1,2}}\d{{6}}{_DASH}{{1,2}}\d{{4,5}}(?!\d)"), _card),
    Finder(Kind.CARD, _pattern(rf"{_BARE}(?:\d{{6}}{_DASH}\d{{10,13}}|\d{{8}}{_DASH}\d{{8}})(?!\d)"), _card),
    # United States: by its form; with spaces only where the number can have been given out
    Finder(Kind.ID, _pattern(r"(?<![\d-])\d{3}[-\u2010-\u2014]\d{2}[-\u2010-\u2014]\d{4}(?![\d-])"), _whole),
    Finder(
        Kind.ID,
        _pattern(rf"{_BARE}\d{{3}} \d{{2}} \d{{4}}(?!\d)"),
        _if(lambda text: us_ssn.is_valid(text.replace(" ", "-"))),
    ),
    # Brazil, Switzerland, Belgium, Korea, Sweden, Finland: by form and check digit
    Finder(Kind.ID, _pattern(r"(?<!\d)\d{3}\.\d{3}\.\d{3}-\d{2}(?!\d)"), _one_of(cpf)),
    Finder(Kind.ID, _pattern(r"(?<!\d)756\.\d{4}\.\d{4}\.\d{2}(?!\d)"), _one_of(ch_ssn)),
    Finder(Kind.ID, _pattern(r"(?<!\d)\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}(?!\d)"), _one_of(nn)),
    Finder(Kind.ID, _pattern(r"(?<!\d)\d{6}-\d{7}(?!\d)"), _one_of(rrn)),
    Finder(Kind.ID, _pattern(r"(?<!\d)(?:\d{2})?\d{6}[-+]\d{4}(?!\d)"), _one_of(personnummer)),
    Finder(Kind.ID, _pattern(r"(?<!\d)\d{6}[-+A]\d{3}[0-9A-Y](?!\w)"), _one_of(hetu)),
    # India, Germany (tax), France: in groups, by check digit
    Finder(Kind.ID, _pattern(rf"{_BARE}[2-9]\d{{3}}{_DASH}\d{{4}}{_DASH}\d{{4}}(?!\d)"), _one_of(aadhaar)),
    Finder(Kind.ID, _pattern(rf"{_BARE}\d{{2}}{_GAP}\d{{3}}{_GAP}\d{{3}}{_GAP}\d{{3}}(?!\d)"), _one_of(idnr)),
    Finder(
        Kind.ID,
        _pattern(
            rf"{_BARE}[1-478]{_GAP}?\d{{2}}{_GAP}?\d{{2}}{_GAP}?\d[\dAB]{_GAP}?\d{{3}}{_GAP}?\d{{3}}{_GAP}?\d{{2}}(?!\d)"
        ),
        _one_of(nir),
    ),
    # Germany, Poland, Turkey, Belgium; South Africa: eleven or thirteen digits, by check digit
    Finder(Kind.ID, _pattern(rf"{_BARE}\d{{11}}(?!\d)(?!\.\d)"), _one_of(idnr, pesel, tckimlik, nn)),
    Finder(Kind.ID, _pattern(rf"{_BARE}\d{{13}}(?!\d)(?!\.\d)"), _one_of(za_idnr)),
    # Spain, Italy, Mexico, China: digits and letters, by check letter
    Finder(Kind.ID, _pattern(r"(?<!\w)\d{8}-?[A-Z](?!\w)"), _one_of(dni)),
    Finder(Kind.ID, _pattern(r"(?<!\w)[XYZ]-?\d{7}-?[A-Z](?!\w)"), _one_of(nie)),
    Finder(
        Kind.ID,
        _pattern(r"(?<!\w)[A-Z]{6}[0-9L-V]{2}[A-Z][0-9L-V]{2}[A-Z][0-9L-V]{3}[A-Z](?!\w)"),
        _one_of(codicefiscale),
    ),
    Finder(Kind.ID, _pattern(r"(?<!\w)[A-Z]{4}\d{6}[HM][A-Z]{5}[0-9A-Z]\d(?!\w)"), _one_of(curp)),
    Finder(Kind.ID, _pattern(r"(?<!\d)\d{17}[\dX](?!\w)"), _one_of(ric)),
    # United Kingdom (insurance): no check digit, but a form that nothing else has
    Finder(
        Kind.ID,
        re.compile(rf"(?<!\w)[A-CEGHJ-PR-TW-Z]{{2}}{_GAP}?\d{{2}}{_GAP}?\d{{2}}{_GAP}?\d{{2}}{_GAP}?[A-D](?!\w)"),
        _whole,
    ),
    Finder(
        Kind.IP,
        _pattern(
            r"(?<!\d)(?<!\d\.)(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)\.){3}(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?!\d)(?!\.\d)"
        ),
        _whole,
    ),
    Finder(Kind.IP, _pattern(r"(?<![\w:])[0-9A-F]{0,4}:[0-9A-F:]{1,38}(?![\w:])"), _ipv6),
    Finder(
        Kind.PHONE,
        _pattern(rf"(?<![\w+])[+\uff0b]{_GAP}?\(?\d(?:{_PUNCTUATION}{{0,3}}\d){{6,16}}(?!\d)"),
        _international,
    ),
    Finder(Kind.PHONE, _pattern(rf"{_BARE}00[1-9](?:{_PUNCTUATION}{{0,3}}\d){{6,16}}(?!\d)"), _international),
    Finder(Kind.PHONE, _pattern(rf"(?<!\d)(?:1{_DASH})?\([2-9]\d\d\){_GAP}?\d{{3}}{_DASH}?\d{{4}}(?!\d)"), _whole),
    Finder(
        Kind.PHONE,
        _pattern(r"(?<!\d)(?<!\d[.-])(?:1[-. ])?[2-9]\d\d([-.\u2010-\u2014])\d{3}\1\d{4}(?!\d)(?![-.]\d)"),
        _whole,
    ),
    Finder(Kind.PHONE, _pattern(rf"{_BARE}(?:1{_GAP})?[2-9]\d\d{_GAP}[2-9]\d\d{_DASH}\d{{4}}(?!\d)"), _whole),
    Finder(Kind.PHONE, _pattern(rf"{_BARE}[2-9]\d\d[2-9]\d{{6}}(?!\d)(?!\.\d)"), _if(_is_north_american)),
    Finder(
        Kind.PHONE,
        _pattern(rf"(?<!\d)(?<!\d[.:-])\(?0[1-9]\d{{0,4}}\)?(?:{_PUNCTUATION}{{1,3}}\d{{2,8}}){{1,5}}(?!\d)"),
        _national,
    ),
    Finder(Kind.PHONE, _pattern(r"(?<!\w)(?<!\d\.)0[1-9]\d{7,10}(?!\w)(?!\.\d)"), _national),
    # United Kingdom (health): written like a North American phone number, which it is called where it could be one
    Finder(Kind.ID, _pattern(rf"{_BARE}\d{{3}}{_GAP}\d{{3}}{_GAP}\d{{4}}(?!\d)"), _one_of(nhs)),
)
