"""No form of a known secret survives redaction."""

import base64
import html
import json
import logging
import shlex
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stackpin import redact as module
from stackpin.config.envfile import render_env, unwritable

CHARACTERS = "$&|/\"'`\\ #;=%{}!*?~<>()[]+-_.abcXYZ019\u00e9\u4e2d\U0001f600"
TOKENS = st.text(alphabet=CHARACTERS, min_size=8, max_size=40).filter(
    lambda t: t == t.strip() and not unwritable(t)
)


@pytest.fixture(autouse=True)
def _fresh():
    module.forget()
    yield
    module.forget()


def learn(token):
    module.forget()
    module.conceal(token)


def encodings(token):
    raw = token.encode()
    yield token
    yield repr(token)
    yield repr(raw)
    yield repr({"Authorization": f"Bearer {token}"})
    yield repr([token, "it's", 'a "quote"'])
    yield json.dumps({"a": token})
    yield json.dumps(token, ensure_ascii=False)
    yield json.dumps({"message": json.dumps({"a": token})})
    yield repr(json.dumps({"a": token}))
    yield quote(token)
    yield quote(token, safe="")
    yield quote_plus(token)
    yield f"https://h/?t={quote_plus(token)}&x=1"
    yield shlex.join(["curl", "-H", f"{token}"])
    yield html.escape(token)
    yield render_env({"TOKEN": token})
    for before in ("", "admin:", "xy", "x"):
        yield base64.b64encode(before.encode() + raw).decode()
        yield base64.urlsafe_b64encode(before.encode() + raw + b"z").decode()


@given(TOKENS)
@settings(max_examples=150, deadline=None)
def test_no_encoding_survives(token):
    learn(token)
    for text in encodings(token):
        shown = module.redact(f"before {text} after")
        assert token not in shown
        assert module.MASK in shown
        assert shown.startswith("before ")
        assert not [token[i : i + 6] for i in range(len(token) - 5) if token[i : i + 6] in shown]


@given(TOKENS)
@settings(max_examples=50, deadline=None)
def test_base64_leaves_less_than_one_character_at_each_end(token):
    learn(token)
    coded = base64.b64encode(b"admin:" + token.encode() + b"!").decode()
    head, tail = module.redact(coded).split(module.MASK)
    assert len(head) <= len("admin:") * 8 // 6 + 1
    assert len(tail) <= 4


def test_text_without_secrets_is_left_alone():
    assert module.redact("plain") == "plain"
    learn("correct-horse")
    assert module.redact("plain") == "plain"
    assert module.redact_value({"a": ["x correct-horse"], "n": 1}) == {"a": ["x ***"], "n": 1}


def test_longer_secret_wins():
    module.conceal("secret-one")
    module.conceal("secret-one-and-more")
    assert module.redact("secret-one-and-more") == "***"


def test_each_line_of_a_key():
    learn("-----BEGIN KEY-----\nMIIEvQIBADANBg\n-----END KEY-----\n")
    assert "MIIEvQIBADANBg" not in module.redact("dump: MIIEvQIBADANBg")


def test_logging_messages_arguments_and_tracebacks():
    learn("correct-horse")
    stream = []
    handler = logging.Handler()
    handler.emit = lambda record: stream.append(logging.Formatter().format(record))
    logger = logging.Logger("test")
    logger.addHandler(handler)
    module.install(logger)
    module.install(logger)
    assert len(handler.filters) == 1
    logger.warning("token %s", "correct-horse")
    logger.warning("broken %d", "correct-horse")
    try:
        raise ValueError("no correct-horse")
    except ValueError:
        logger.exception("failed", stack_info=True)
    text = "\n".join(stream)
    assert "correct-horse" not in text
    assert "ValueError: no ***" in text
    assert text.count("***") >= 3
