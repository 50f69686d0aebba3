"""Where a text holds an e-mail address, a phone number, a payment card's number or a key. Needs the extra `redact`."""

import re
from collections.abc import Iterator
from functools import cache

from kingfisher_sdk import Rules, Scanner
from phonenumbers import Leniency, PhoneNumberMatch, PhoneNumberMatcher
from pydantic_core import PydanticCustomError
from pydantic_extra_types.payment import PaymentCardBrand, PaymentCardNumber

from session_memory.settings import get_settings

#: Start and end, in characters.
Span = tuple[int, int]

# Keys

#: What Kingfisher leaves because it is not of its issuer's exact form, or of no issuer: the span is the first group.
_KEYS = [
    # An AWS key id without its secret beside it.
    re.compile(r"(?<![\w-])((?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16})(?!\w)", re.ASCII),
    # Tokens that were cut, or made up for an example.
    re.compile(r"(?<![\w-])(sk-(?=\w{0,60}\d)\w{16,}[\w-]*)", re.ASCII),
    re.compile(r"(?<![\w-])(sk-(?:proj|svcacct|admin|ant|or)-(?=[\w-]{0,60}\d)[\w-]{16,})", re.ASCII),
    re.compile(r"(?<![\w-])((?:gh[pousr]_|github_pat_|glpat-|xox[a-z]-|xapp-)(?=[\w-]{0,60}\d)[\w-]{10,})", re.ASCII),
    re.compile(r"(?<![\w-])(eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*)", re.ASCII),
    # What an HTTP request is authorised with.
    re.compile(r"\bbearer\s+((?=\S{0,200}\d)[\w.~+/-]{16,}=*)", re.ASCII | re.IGNORECASE),
    re.compile(r"\bauthorization\W{1,3}basic\s+([\w+/-]{8,}=*)", re.ASCII | re.IGNORECASE),
    # scheme://user:password@host
    re.compile(r"://[^\s/:@\"']{0,100}:([^\s/@\"']{1,200})@(?=[\w\[])"),
    # password: …, "api_key" = …; a value of letters and digits, so that no word of a sentence is one.
    re.compile(
        r"(?:passw(?:or)?d|passphrase|pwd)[\"']?(?:\s*[:=]\s*|\s+is:?\s+)[\"'`]?"
        r"((?=\S{0,200}\d)(?=\S{0,200}[a-z])[^\s\"'`,;<>]{6,})",
        re.IGNORECASE,
    ),
    re.compile(
        r"(?:api[ _-]?key|access[ _-]?key|account[ _-]?key|secret(?:[ _-]?key)?|token)[\"']?\s*[:=]\s*[\"'`]?"
        r"((?=\S{0,200}\d)(?=\S{0,200}[a-z])[^\s\"'`,;<>]{12,})",
        re.IGNORECASE,
    ),
    # A private key, also without its end.
    re.compile(
        r"(-----BEGIN [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----(?:[\s\S]{0,20000}?-----END [A-Z ]{0,30}PRIVATE KEY"
        r"(?: BLOCK)?-----|(?:\s*[A-Za-z0-9+/=]{16,})+))"
    ),
]


#: What no key contains, and what ends a sentence.
_PUNCTUATION = re.compile(r"[^\x00-\x7f]|[,!?&()\[\]{}<>*|]|[.:](?=\s|$)")


@cache
def _scanner() -> Scanner:
    # Compiling its rules takes seconds, reading what was compiled half of one.
    return Scanner(Rules(cache_dir=get_settings().state_path / "kingfisher"))


def keys(text: str) -> Iterator[Span]:
    """API keys, tokens, passwords in URLs and after their name, private keys."""
    # Its rules are for code, where a key ends with a quote or a space: in a sentence it may end with a comma.
    for variant in (text, _PUNCTUATION.sub(lambda match: " " * len(_raw(match.group())), text)):
        raw = _raw(variant)
        for finding in _scanner().scan(raw):
            start, end = finding.location["start_offset"], finding.location["end_offset"]
            # Of two private keys it makes one, with all that stands between them; ours finds each.
            if b"-----BEGIN" not in raw[start:end]:
                yield _characters(text, start), _characters(text, end)
    for pattern in _KEYS:
        yield from (match.span(1) for match in pattern.finditer(text))


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _characters(text: str, offset: int) -> int:
    """An offset in bytes as one in characters."""
    return len(_raw(text)[:offset].decode("utf-8", "surrogatepass"))


# Payment cards

#: In the groups that cards are printed in, or in none.
_CARD = re.compile(
    r"(?<!\w)(?<!\d[.,-])"
    r"(?:\d{14,19}|\d{4}([ \u00a0.-])\d{4}\1\d{4}\1\d{4}(?:\1\d{1,3})?|\d{4}([ \u00a0.-])\d{6}\2\d{4,5})"
    r"(?!\w|[.,-]\d)"
)


def cards(text: str) -> Iterator[Span]:
    """Numbers that a card of a known brand can have, by their first digits, their length and the Luhn check."""
    return (match.span() for match in _CARD.finditer(text) if _is_card(match.group()))


def _is_card(text: str) -> bool:
    digits = "".join(str(int(character)) for character in text if character.isdecimal())
    try:
        return PaymentCardNumber(digits).brand is not PaymentCardBrand.other
    except PydanticCustomError:
        return False


# E-mail addresses

# Chinese, Japanese and Korean have no space before an address.
_UNSPACED = r"\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef"
_EMAIL = re.compile(
    rf"(?<!(?![{_UNSPACED}])[\w.+-])(?!git@)(?![{_UNSPACED}])[\w+](?:(?![{_UNSPACED}])[\w.+'-]){{0,254}}@"
    r"(?:\w(?:[\w-]{0,61}\w)?\.){1,8}(?:[a-z]{2,63}|[^\W\d_a-z]{2,63})",
    re.IGNORECASE,
)


def emails(text: str) -> Iterator[Span]:
    """E-mail addresses; `git@host` is none."""
    return (match.span() for match in _EMAIL.finditer(text))


# Phone numbers

_FEWEST = 7
#: Digits as they stand in a phone number.
_RUN = re.compile(r"[+(]{0,2}\d(?:[^\w,;:]{0,4}\d){6,}")
_NORTH_AMERICAN = re.compile(r"\d{3}\)?[ \u00a0.-]{0,2}\d{3}[ \u00a0.-]\d{4}(?!\d)")
_LEADING_ZERO = re.compile(r"(?<![\d.,])\(?0\d")
#: Countries whose numbers begin with 0 when people write them at home.
_REGIONS = ["GB", "DE", "FR", "IT", "NL", "BE", "CH", "AT", "IE", "AU", "NZ", "IN", "JP", "ZA", "UA", "IL", "SE"]
_DATE = re.compile(r"\d{1,4}([./-])\d{1,2}\1\d{1,4}")
#: A word before a number that makes it one, whatever its form.
_NAMED = re.compile(
    r"(?:\b(?:(?:tele)?phone|telefono?|t[ée]l[ée]phone|tel[ée]fono|tel|mobile?|cell(?:phone)?|handy|m[oó]vil|celular"
    r"|portable|whatsapp|sms|fax|hotline)\b"
    r"|\b(?:call|ring|reach|text|dial)(?: (?:me|us|him|her|them))? (?:at|on|under)\b)"
    r"(?:\W{1,3}(?:number|no|nr|is|at|on|ist|est|es)\b){0,3}\W{0,3}$",
    re.IGNORECASE,
)


def phones(text: str) -> Iterator[Span]:
    """Phone numbers with + or 00, of North America and `_REGIONS` as written there, and after a word like "phone"."""
    for run in _RUN.finditer(text):
        # With the character before it, which may make it part of a word, and an extension.
        start = max(0, run.start() - 1)
        is_named = bool(_NAMED.search(text, max(0, run.start() - 60), run.start()))
        for match in _phones_of(text[start : run.end() + 12], is_named=is_named):
            if sum(character.isdecimal() for character in match.raw_string) >= _FEWEST:
                yield start + match.start, start + match.end


def _phones_of(text: str, *, is_named: bool) -> Iterator[PhoneNumberMatch]:
    for match in _international(text):
        yield match
        text = text[: match.start] + "x" * (match.end - match.start) + text[match.end :]
    # Exact: in the groups that the country writes them in, which keeps prices, dates and parts of ids out.
    if _NORTH_AMERICAN.search(text):
        yield from PhoneNumberMatcher(text, "US", leniency=Leniency.EXACT_GROUPING)
    if _LEADING_ZERO.search(text):
        for region in _REGIONS:
            yield from filter(_is_grouped, PhoneNumberMatcher(text, region, leniency=Leniency.EXACT_GROUPING))
    if is_named:
        # A region that takes numbers of any length.
        matches = PhoneNumberMatcher(text[:40], "DE", leniency=Leniency.POSSIBLE, max_tries=1)
        yield from (match for match in matches if not _DATE.fullmatch(match.raw_string))


def _international(text: str) -> list[PhoneNumberMatch]:
    found = list(PhoneNumberMatcher(text, None, leniency=Leniency.VALID)) if "+" in text or "＋" in text else []
    if "00" in text:
        matches = PhoneNumberMatcher(text, "DE", leniency=Leniency.VALID)
        found += [match for match in matches if match.raw_string.startswith("00")]
    return found


def _is_grouped(match: PhoneNumberMatch) -> bool:
    groups = re.findall(r"\d+", match.raw_string)
    return len(groups) > 1 and groups[0].startswith("0") and sum(map(len, groups)) >= 9
