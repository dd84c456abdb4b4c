"""A form's pattern and the cheap test that lets it run: nothing that the one would find may the other hold back."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crm_monitoring.scrubbing.secret_forms import EMAIL, FORMS, TOKENS, Form, Token

EXAMPLES = {
    "pem": ["-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----", "-----BEGIN A-----"],
    "postgresql_key": ["Key (email)=(ada@example.org) already exists."],
    "postgresql_row": ["Failing row contains (1, Ada).", "La ligne en échec contient (1, Ada)."],
    "mysql_entry": ["Duplicate entry 'ada' for key 'email'"],
    "url_password": ["postgres://ada:hunter2@db/crm"],
    "url_token": ["https://hunter2@example.org/", "http://hunter2@example.org/"],
    "scheme": [
        "Bearer 9944b09199c62bcf",
        "basic dXNlcjpwYXNz",
        "BEARER x1y2z3",
        "bEaReR x1y2z3",
        "BaSiC%20dXNlcjpwYXNz",
    ],
    "jwt": ["eyJpZCI6MX0:1tQ2wz:5fV0x-Zr3yQ8bWk"],
    "token": ["AKIAIOSFODNN7EXAMPLE", "sk-proj-" + "a1" * 20],
    "phone": ["+33 6 12 34 56 78", "06 12 34 56 78", "06-12-34-56-78"],
    "url_path": ["https://example.org/a"],
    "email": ["ada@example.org", "ada%40example.org"],
}
TOKEN_EXAMPLES = {
    "AWS": ["AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE"],
    "Google": ["AIza" + "a" * 35],
    "GitHub": [*(f"gh{kind}_" + "a1" * 18 for kind in "oprsu"), "github_pat_" + "a1" * 20],
    "GitLab": ["glpat-" + "a1" * 10, "glcbt-" + "a1" * 10],
    "Slack": ["xoxb-123456789012-abcdef", "xapp-1-A0123456-abcdef"],
    "Stripe": ["sk_" + "live_4eC39HqLyjWDarjtT1", "rk_" + "test_4eC39HqLyjWDarjtT1", "whsec_" + "a1" * 10],
    "Sentry": ["sntrys_" + "a1" * 10, "sntryu_" + "a1" * 10],
    "OpenAI, Anthropic": ["sk-" + "a1" * 12, "sk-ant-" + "a1" * 12],
    "SendGrid": ["SG." + "a1" * 11 + "." + "b2" * 20],
    "Brevo": ["xkeysib-" + "a1" * 32],
}
ALL = {form.name: form for form in (*FORMS, EMAIL)}


@pytest.mark.parametrize("form", ALL.values(), ids=lambda form: form.name)
def test_every_form_has_examples_that_both_its_test_and_its_pattern_find(form: Form) -> None:
    for text in EXAMPLES[form.name]:
        assert form.may_apply(text)
        assert form.pattern.search(text)


@pytest.mark.parametrize("token", TOKENS, ids=lambda token: token.service)
def test_every_token_of_a_service_passes_test_and_pattern_of_all_tokens(token: Token) -> None:
    form = ALL["token"]

    for text in TOKEN_EXAMPLES[token.service]:
        assert form.may_apply(text)
        assert form.pattern.fullmatch(text)


@pytest.mark.parametrize("token", TOKENS, ids=lambda token: token.service)
def test_every_mark_of_a_token_begins_or_ends_what_it_stands_for(token: Token) -> None:
    marks: tuple[str, ...] = token.marks

    for text in TOKEN_EXAMPLES[token.service]:
        assert any(mark in text for mark in marks)
    assert all(any(mark in text for text in TOKEN_EXAMPLES[token.service]) for mark in marks)


PIECES = [text for texts in (*EXAMPLES.values(), *TOKEN_EXAMPLES.values()) for text in texts]
swapped = st.sampled_from(PIECES).flatmap(
    lambda text: st.sets(st.integers(0, len(text) - 1)).map(
        lambda places: "".join(sign.swapcase() if at in places else sign for at, sign in enumerate(text))
    )
)


@given(st.lists(st.one_of(st.sampled_from(PIECES), swapped, st.text(max_size=5)), max_size=4).map(" ".join))
@example("éBEARER x1y2z3")
def test_what_a_pattern_would_find_its_test_never_holds_back(text: str) -> None:
    held_back = [form.name for form in ALL.values() if form.pattern.search(text) and not form.may_apply(text)]

    assert held_back == []


def test_names_are_unique() -> None:
    assert len(ALL) == len(FORMS) + 1
    assert all(re.fullmatch("[a-z_]+", name) for name in ALL)
