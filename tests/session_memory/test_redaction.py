"""What the built-in redaction masks and what stays, and how a hook of one's own is guarded."""

import random
import string
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from session_memory import redaction
from session_memory.errors import RedactionExtraMissing, RedactionFailed, RedactionNotFound
from session_memory.redaction import Redacted, mask

_random = random.Random(7)
_WORD = string.ascii_letters + string.digits
_HEX = "0123456789abcdef"


def some(length: int, characters: str = _WORD) -> str:
    """Characters as an issuer draws them. A key that stood in this file would be taken for a real one."""
    return "".join(_random.choice(characters) for _ in range(length))


def private_key(kind: str) -> str:
    body = "\n".join(some(64, _WORD + "+/") for _ in range(20))
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{body}\n-----END {kind}PRIVATE KEY-----"


KEYS = {
    "OpenAI": f"sk-proj-{some(74, _WORD + '_-')}T3BlbkFJ{some(74, _WORD + '_-')}",
    "OpenAI, old": f"sk-{some(20)}T3BlbkFJ{some(20)}",
    "OpenAI, made up": f"sk-{'1234567890abcdef' * 2}",
    "Anthropic": f"sk-ant-api03-{some(93, _WORD + '_-')}AA",
    "AWS, the id alone": f"AKIA{some(16, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567')}",
    "AWS, made up": "AKIA" + "IOSFODNN7EXAMPLE",
    "GitHub": f"ghp_{some(36)}",
    "GitHub, fine-grained": f"github_pat_{some(22)}_{some(59)}",
    "GitLab": f"glpat-{some(20)}",
    "Slack": f"xoxb-{some(12, '123456789')}-{some(13, '123456789')}-{some(24)}",
    "Stripe": f"sk_live_{some(24)}",
    "Google": f"AIza{some(35)}",
    "Hugging Face": f"hf_{some(34, string.ascii_letters)}",
    "PyPI": f"pypi-AgEIcHlwaS5vcmc{some(80)}",
    "SendGrid": f"SG.{some(22)}.{some(43)}",
    "JWT": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0." + some(43),
    "RSA": private_key("RSA "),
    "OpenSSH": private_key("OPENSSH "),
    "PKCS 8": private_key(""),
    "a private key that was cut": private_key("EC ")[:400],
}


@pytest.mark.parametrize("around", ["Mine is {}", "Mine is {}, ok?", "({}).", "**{}**", "`{}`:", "请{}请", '"{}"\n…'])
@pytest.mark.parametrize("name", KEYS)
def test_a_key_is_masked_whole_and_what_stands_around_it_stays(name, around):
    assert mask(around.format(KEYS[name])) == Redacted(around.format("[key]"), {"key": 1})


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"Authorization: Bearer {some(40, _HEX)}1", "Authorization: Bearer [key]"),
        (f"authorization: basic {'YWRhOnMzY3IzdA=='}", "authorization: basic [key]"),
        ("postgres://ada:s3cr3t@db.example.com:5432/x", "postgres://ada:[key]:5432/x"),
        ("my password is hunter2hunter", "my password is [key]"),
        ('{"password": "correct1horse"}', '{"password": "[key]"}'),
        (f"aws_secret_access_key={some(39, _WORD)}1", "aws_secret_access_key=[key]"),
        (f"api-key: {some(32, _HEX)}1a", "api-key: [key]"),
    ],
)
def test_a_secret_is_known_by_its_name(text, masked):
    assert mask(text).text == masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Write to ada.lovelace+test@mail.example.co.uk.", "Write to [email]."),
        ("<bob@example.com>, 'eve@example.com'", "<[email]>, '[email]'"),
        ("o'neil@example.org and ada@münchen.example", "[email] and [email]"),
        ("почта: иван@пример.рф", "почта: [email]"),
        ("请写信给ada@example.com谢谢", "请写信给[email]谢谢"),
        ("mailto:ada@example.com?subject=x", "mailto:[email]?subject=x"),
        ("Call +44 20 7946 0958 now", "Call [phone] now"),
        ("+1 (415) 555-2671 or (415) 555-2671.", "[phone] or [phone]."),
        ("415.555.2671, 1-800-555-1234", "[phone], [phone]"),
        ("020 7946 0958; 06 12 34 56 78; 0170 1234567; 090-1234-5678", "[phone]; [phone]; [phone]; [phone]"),
        ("0044 20 7946 0958", "[phone]"),
        ("Tel. +49 (0)30 901820, WhatsApp +91 98765 43210", "Tel. [phone], WhatsApp [phone]"),
        ("my phone number is 98765 43210", "my phone number is [phone]"),
        ("móvil: 612345678", "móvil: [phone]"),
        ("call me at 4155552671", "call me at [phone]"),
        ("card 4111 1111 1111 1111 exp 12/29", "card [card] exp 12/29"),
        ("5500-0000-0000-0004, 378282246310005, 3782 822463 10005", "[card], [card], [card]"),
        ("6011000990139424 2223003122003222 3530111333300000", "[card] [card] [card]"),
    ],
)
def test_what_names_a_person_is_masked(text, masked):
    assert mask(text).text == masked


@pytest.mark.parametrize(
    "text",
    [
        "Order 4512345678901 shipped, invoice 20240131-000123, ticket INC0012345678",
        "order no. 1234567890123456, DHL 00340434161094042557, UPS 1Z999AA10123456784",
        "2024-01-31, 31.12.2024, 2024-01-31T12:34:56.789012+00:00, 20240131123456, 2008-2009",
        "phone 2024-01-31, text 31.12.2024, tel aviv 2019-2020",
        "550e8400-e29b-41d4-a716-446655440000, 12345678-1234-5678-1234-567812345678",
        "version 1.26.3.4, v2.0.0-rc.10, build 20240131.1, Python 3.10 - 3.13",
        "$1,234,567.89, EUR 1 234 567,89, 1.000.000,00 €, 912 345 678 people, 19 000 000 000 000",
        "192.168.100.200, 2001:0db8:85a3:0000:0000:8a2e:0370:7334, 00:1A:2B:3C:4D:5E",
        "1700000000, 1700000000000, 1700000000.123456, 3.141592653589793238",
        "ISBN 978-3-16-148410-0, ISBN 0-306-40615-2, part no. 0815-4711-12, case 23-1234-5678",
        "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16, chapters 1-2-3-4-5-6-7, score 415-200-100",
        "commit da39a3ee5e6b4b0d3255bfef95601890afd80709, qa_id 7c9e6679-7425-40de-944b-e07fc1f90ae7",
        "https://example.com/orders/4155552671?id=1234567890, arn:aws:iam::123456789012:role/x",
        "@ada, @app.get('/x'), git@github.com:owner/repo.git, a @ b, user@localhost",
        "sk-learn, task-1234, risk-assessment-of-the-whole-company, disk-2024-01-31-full-backup",
        "the password is case-sensitive; a bearer token; Bearer of bad news; token: none; secret: a surprise",
        "-----BEGIN PRIVATE KEY----- is how one begins",
        "[email] [phone] [card] [key]",
    ],
)
def test_what_only_looks_like_it_stays(text):
    assert mask(text) == Redacted(text, {})


def test_what_was_masked_is_counted_by_its_kind():
    text = f"ada@example.com, bob@example.com, 4111 1111 1111 1111, {KEYS['GitHub']}, +44 20 7946 0958"
    assert mask(text).counts == {"email": 2, "card": 1, "key": 1, "phone": 1}


_SECRETS = {
    "[email]": ["ada@example.com", "иван@пример.рф"],
    "[phone]": ["+44 20 7946 0958", "(415) 555-2671"],
    "[card]": ["4111 1111 1111 1111", "378282246310005"],
    "[key]": list(KEYS.values()),
}
_PARTS = st.one_of(
    st.lists(st.sampled_from(["ünï", "🦊", "words", "请", "and", "\n", "...", "[x]"]), min_size=1).map(" ".join),
    *[st.tuples(st.just(token), st.sampled_from(secrets)) for token, secrets in _SECRETS.items()],
)


@given(st.lists(_PARTS, max_size=6))
@settings(max_examples=150, deadline=None)
def test_wherever_it_stands_in_a_text_it_is_masked_and_nothing_else_is(parts):
    said = " ; ".join(part if isinstance(part, str) else part[1] for part in parts)
    kept = " ; ".join(part if isinstance(part, str) else part[0] for part in parts)
    assert mask(said).text == kept


@given(st.text(st.characters(codec=None)))
@settings(max_examples=300, deadline=None)
def test_no_text_is_too_strange(text):
    masked = mask(text)
    assert masked.counts or masked.text == text


@pytest.mark.parametrize("part", ["a'", "a.", "1 ", "0123 ", "token:", "password is ", "-----BEGIN PRIVATE KEY-----"])
def test_no_text_takes_long(part):
    started = time.process_time()
    mask(part * (25_000 // len(part)))
    assert time.process_time() - started < 10


def upper(text: str) -> Redacted:
    return Redacted(text.upper(), {"letter": len(text)})


def returns_text(text: str) -> str:
    return text


def counts_words(text: str) -> Redacted:
    return Redacted(text, {text: 1})


def raises(text: str) -> Redacted:
    raise ValueError(text)


NOT_CALLABLE = "upper"


def test_no_hook_is_none_and_a_hook_is_found_by_its_path():
    assert redaction.load("") is None
    hook = redaction.load(f"{__name__}:upper")
    assert hook is not None
    assert hook("abc") == Redacted("ABC", {"letter": 3})
    assert redaction.load("session_memory.redaction:mask") is not None


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("no_such_package.module:mask", "ModuleNotFoundError"),
        ("session_memory.redaction:no_such_function", "AttributeError"),
        (f"{__name__}:NOT_CALLABLE", "a str"),
    ],
)
def test_a_hook_that_is_not_there_is_named_with_what_to_do(path, kind):
    with pytest.raises(RedactionNotFound) as error:
        redaction.load(path)
    assert path in str(error.value)
    assert kind in str(error.value)


@pytest.mark.parametrize(
    ("name", "kind"), [("raises", "ValueError"), ("returns_text", "returned a str"), ("counts_words", "something else")]
)
def test_a_hook_that_fails_is_told_by_its_kind_and_never_by_its_text(name, kind):
    hook = redaction.load(f"{__name__}:{name}")
    with pytest.raises(RedactionFailed) as error:
        hook("Zanzibarquux")
    assert kind in str(error.value)
    assert "Zanzibarquux" not in f"{error.value!r} {error.value} {error.value.details}"
    assert error.value.__suppress_context__ or error.value.__context__ is None


def test_without_its_packages_the_built_in_one_says_which_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "phonenumbers", None)
    monkeypatch.delitem(sys.modules, "session_memory.detectors", raising=False)
    with pytest.raises(RedactionExtraMissing, match=r"pip install 'session-memory\[redact\]'"):
        redaction.load("session_memory.redaction:mask")
