"""What never leaves the process, and what is left alone."""

from __future__ import annotations

import copy
import inspect
import re
import secrets
import uuid
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import process_time
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_monitoring.scrubbing import field_names, secret_forms
from crm_monitoring.scrubbing import scrubber as scrubber_module
from crm_monitoring.scrubbing.field_names import words
from crm_monitoring.scrubbing.scrubber import CUT, FILTERED, SENSITIVE_KEYS, TOO_DEEP, TOO_LARGE, Scrubber

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dBjftJeZ4CVPmB92K27uhbUJU1p1r_wW1g"
CARD = "4242 4242 4242 4242"
IBAN = "FR76 3000 6000 0112 3456 7890 189"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAKC\n-----END RSA PRIVATE KEY-----"

scrubber = Scrubber()


# -- keys -----------------------------------------------------------------------------------------------------------------

SENSITIVE = """
password Password PASSWORD passwd pwd userPassword new_password2 login-password password1 old_password db_password_hash
password_confirm user.password passphrase passcode db_pass pass mot_de_passe motDePasse mdp mot-de-passe ancien_mdp
X-Api-Key apikey apiKey API_KEY stripe_api_keys access_key AWS_SECRET_ACCESS_KEY private_key privatekey signing_key
authorization Authorization HTTP_AUTHORIZATION Proxy-Authorization auth X-Auth
csrfmiddlewaretoken X-Csrftoken HTTP_X_CSRFTOKEN csrftoken _csrf XSRF-TOKEN
token idToken token_hash access_token accesstoken refresh refresh_token auth_tokens jwt bearer jeton
secret webhook_secret totp_secret client_secret clientSecret SECRET_KEY credentials credential
sessionid session_id PHPSESSID session session_key sid cookie Cookie set-cookie Set-Cookie cookies connect.sid
dsn SENTRY_DSN otp otp_code 2fa_code backup_codes pin PIN user_pin code_pin cvv cvv2 card_cvc
iban clientIBAN rib card_number cardNumber cardnumber credit_card numero_carte numéro_de_carte carte_bancaire
ssn social_security_number num_secu numSecu nir numero_securite_sociale passport_number
""".split()  # noqa: SIM905

HARMLESS = """
author author_id authority authorize_url authenticated authentication_method authored_by
email_password_status password_changed_at password_length password_validators has_password is_secret min_password_length
keyboard monkey key primary_key foreign_key cache_key public_key sort_key partition_key idempotency_key keys donkey turkey
passport_office_name passenger passage compass bypass passive passed
refresh_rate refreshed_at refresh_interval auto_refresh
pinned spinner pinterest opinion shipping ping
tokenizer tokenize max_tokens total_tokens prompt_tokens completion_tokens token_type token_count token_expires_in
secretary secretariat secret_name cookie_policy session_count session_engine csrf_cookie_name cookie_secure
cardinality cardiology discard card card_brand cards postcard scorecard
description describe subscription contribution caribou tribe attribute distribution
nirvana souvenir avenir username name email phone id pk code status amount country number numero account accounting
access accessed_at expires_at signature hash event level logger timestamp request_id trace_id duration_ms
""".split()  # noqa: SIM905


@pytest.mark.parametrize("key", SENSITIVE)
def test_value_of_a_sensitive_key_is_filtered(key: str) -> None:
    assert scrubber.scrub({key: "hunter2"}) == {key: FILTERED}


@pytest.mark.parametrize("key", HARMLESS)
def test_value_of_another_key_is_kept(key: str) -> None:
    fields = {key: "hunter2"}

    assert scrubber.scrub(fields) is fields


def test_both_tables_are_long_enough() -> None:
    assert min(len(set(SENSITIVE)), len(set(HARMLESS))) >= 60


@pytest.mark.parametrize(
    "value", [None, True, False, "", b"", datetime(2026, 1, 1, tzinfo=UTC), timedelta(days=90)], ids=repr
)
def test_what_no_one_can_log_in_with_is_kept(value: Any) -> None:
    fields = {"password": value}

    assert scrubber.scrub(fields) is fields


@pytest.mark.parametrize(
    "value",
    [1234, 0, 1.5, "0", b"x", ["a"], {"a": 1}, (), uuid.UUID(int=1), object()],
    ids=lambda value: type(value).__name__ + str(value)[:1],
)
def test_anything_else_under_a_sensitive_key_is_filtered(value: Any) -> None:
    assert scrubber.scrub({"pin": value}) == {"pin": FILTERED}


def test_keys_of_one_owner_can_be_added() -> None:
    own = Scrubber((*SENSITIVE_KEYS, "numéro client", "123"))

    assert own.scrub({"numeroClient": "a", "password": "b", "other": "c"}) == {
        "numeroClient": FILTERED,
        "password": FILTERED,
        "other": "c",
    }


def test_keys_can_be_replaced() -> None:
    fields = {"password": "a", "dossier_medical": "b"}

    assert Scrubber(("dossier medical",), names=()).scrub(fields) == {"password": "a", "dossier_medical": FILTERED}


def test_no_keys_at_all_leave_the_patterns() -> None:
    assert Scrubber((), names=()).scrub({"password": "a", "b": JWT}) == {"password": "a", "b": FILTERED}


def test_a_key_in_another_alphabet_can_be_added() -> None:
    assert Scrubber(("пароль",)).scrub({"Пароль": "x"}) == {"Пароль": FILTERED}


def test_a_key_is_read_word_by_word() -> None:
    assert words("X-APIKeyÉlan_v2") == ["x", "api", "key", "elan", "v"]


def test_a_key_that_is_a_secret_itself_is_filtered() -> None:
    assert scrubber.scrub({"ada@example.org": 1}) == {FILTERED: 1}


def test_an_endless_key_is_read_too() -> None:
    assert scrubber.scrub({"a_" * 1000 + "password": "x"}) == {"a_" * 1000 + "password": FILTERED}


@pytest.mark.parametrize("key", ["span_id", "trace_id", "parent_span_id", "event_id"])
def test_an_id_of_a_trace_is_kept_though_it_reads_like_a_card(key: str) -> None:
    fields = {key: "4242424242424242"}

    assert all(scrubber.scrub(fields) is fields for _ in range(2))


def test_another_text_under_the_key_of_a_trace_is_searched() -> None:
    scrubber.scrub({"trace_id": "0" * 32})

    assert scrubber.scrub({"trace_id": CARD}) == {"trace_id": FILTERED}


# -- trees ----------------------------------------------------------------------------------------------------------------


class Login(NamedTuple):
    name: str
    password: str


@dataclass
class User:
    name: str
    password: str


class QueryDict(dict[str, Any]):
    """As Django's: the last value of each list is what `items` gives."""

    def items(self) -> Any:
        return [(key, values[-1]) for key, values in super().items()]


def test_the_whole_tree_is_searched() -> None:
    tree = {"a": [{"b": ({"password": "x"}, frozenset({JWT}))}, {JWT}], "c": b"password=x"}

    assert scrubber.scrub(tree) == {
        "a": [{"b": ({"password": FILTERED}, frozenset({FILTERED}))}, {FILTERED}],
        "c": b"password=[Filtered]",
    }


def test_what_has_no_secret_is_the_same_object() -> None:
    tree = {"a": [1, 2.5, None, "text", b"bytes", {"b": ({"c"}, frozenset("d"))}], 7: object(), b"e": 1, ("f",): True}

    assert scrubber.scrub(tree) is tree


def test_only_the_changed_branch_is_copied() -> None:
    tree = {"same": {"a": 1}, "other": {"password": "x"}}

    assert scrubber.scrub(tree)["same"] is tree["same"]


def test_a_copy_keeps_the_order_of_its_keys() -> None:
    assert list(scrubber.scrub({"z": 1, "token": "x", "a": 2})) == ["z", "token", "a"]


def test_an_unknown_object_stays_as_it_is() -> None:
    user = SimpleNamespace(password="x")

    assert scrubber.scrub({"user": user})["user"] is user


@pytest.mark.parametrize("kind", [OrderedDict, lambda items: defaultdict(list, items), dict])
def test_a_kind_of_dict_becomes_a_dict(kind: Callable[[Any], dict[str, str]]) -> None:
    result = scrubber.scrub(kind({"token": "x"}))

    assert type(result) is dict
    assert result == {"token": FILTERED}


def test_all_values_of_a_multi_value_dict_are_searched() -> None:
    form: dict[str, Any] = QueryDict(a=["1", JWT, "2"], b=["3"])

    assert scrubber.scrub(form) == {"a": ["1", FILTERED, "2"], "b": ["3"]}


def test_a_named_tuple_stays_one() -> None:
    assert scrubber.scrub(Login("ada", "x")) == Login("ada", FILTERED)
    assert type(scrubber.scrub(Login("ada", "x"))) is Login


def test_a_kind_of_text_becomes_text() -> None:
    class SafeText(str):
        pass

    assert type(scrubber.scrub(SafeText("password=x"))) is str
    assert type(scrubber.scrub(SafeText("fine"))) is SafeText


@pytest.mark.parametrize(
    ("pair", "result"),
    [
        (("Authorization", "x"), ("Authorization", FILTERED)),
        (["X-Api-Key", "x"], ["X-Api-Key", FILTERED]),
        ((b"cookie", b"a=b"), (b"cookie", FILTERED)),
        ({b"cookie": b"a=b"}, {b"cookie": FILTERED}),
    ],
)
def test_a_pair_is_read_as_key_and_value(pair: Any, result: Any) -> None:
    assert scrubber.scrub([pair]) == [result]


@pytest.mark.parametrize("pair", [("Your token is old", "x"), ("name", "x"), ("token", "x", "y"), ("token" * 99, "x")])
def test_other_sequences_are_no_pairs(pair: tuple[str, ...]) -> None:
    assert scrubber.scrub(pair) is pair


def test_a_card_as_a_number_is_filtered() -> None:
    assert scrubber.scrub([4242424242424242, 4242424242424241, 10**30, 1700000000000]) == [
        FILTERED,
        4242424242424241,
        10**30,
        1700000000000,
    ]


def test_a_cycle_ends() -> None:
    cycle: list[Any] = ["a"]
    cycle.append(cycle)

    assert TOO_DEEP in repr(scrubber.scrub(cycle))


def test_a_tree_that_branches_without_end_ends() -> None:
    cycle: list[Any] = []
    cycle += [cycle, cycle, cycle]

    assert TOO_LARGE in repr(scrubber.scrub(cycle))


def test_what_is_too_deep_is_not_passed_on() -> None:
    tree: Any = {"a": JWT}
    for _ in range(2000):
        tree = [tree]

    assert JWT not in repr(scrubber.scrub(tree))


def test_what_is_too_large_is_not_passed_on() -> None:
    tree: Any = {"a": [JWT] * 100_001}

    assert scrubber.scrub(tree) == {"a": TOO_LARGE}


def test_memory_of_known_texts_is_bounded() -> None:
    own = Scrubber()

    for number in range(5000):
        own.scrub({f"key_{number:x}": f"text {number:x}"})

    assert max(len(own.clean_texts), len(own.ordinary_keys)) <= 4096


def test_secrets_are_not_remembered() -> None:
    own = Scrubber()

    own.scrub({"a": JWT, "password": "hunter2"})

    assert not own.clean_texts & {JWT, "hunter2"}


# -- text -----------------------------------------------------------------------------------------------------------------

TEXTS = [
    # credentials with a scheme
    ("Authorization: Bearer abc.def-1", "Authorization: Bearer [Filtered]"),
    ("authorization: basic dXNlcjpwYXNz", "authorization: basic [Filtered]"),
    ("Authorization: Token 9944b09199c62bcf", "Authorization: Token [Filtered]"),
    ("Authorization: some thing", "Authorization: [Filtered]"),
    ("{'Authorization': 'Bearer abc', 'Accept': '*/*'}", "{'Authorization': 'Bearer [Filtered]', 'Accept': '*/*'}"),
    ("sent Bearer 9944b09199c62bcf to host", "sent Bearer [Filtered] to host"),
    ("BEARER abcdefghijklmnopqrst", "BEARER [Filtered]"),
    ("Bearer%20abc123", "Bearer%20[Filtered]"),
    ("Cookie: a=b; c=d\nHost: x", "Cookie: [Filtered]\nHost: x"),
    # forms of tokens
    (f"got {JWT}.", "got [Filtered]."),
    (f"a%20{JWT}", "a%20[Filtered]"),
    ("eyJpZCI6MX0:1tQ2wz:5fV0x-Zr3yQ8bWk", "[Filtered]"),
    (f"key:\n{PEM}\nend", "key:\n[Filtered]\nend"),
    (PEM[:40], "[Filtered]"),
    ("AKIAIOSFODNN7EXAMPLE!", "[Filtered]!"),
    ("AIza" + "a" * 35, "[Filtered]"),
    ("ghp_" + "a1" * 18, "[Filtered]"),
    ("github_pat_" + "a1" * 20, "[Filtered]"),
    ("glpat-" + "a1" * 10, "[Filtered]"),
    ("xoxb-123456789012-abcdef", "[Filtered]"),
    ("sk_" + "live_4eC39HqLyjWDarjtT1", "[Filtered]"),
    ("whsec_" + "a1" * 10, "[Filtered]"),
    ("sntrys_" + "a1" * 10, "[Filtered]"),
    ("sk-proj-" + "a1" * 20, "[Filtered]"),
    ("SG." + "a1" * 11 + "." + "b2" * 20, "[Filtered]"),
    ("xkeysib-" + "a1" * 32, "[Filtered]"),
    # numbers
    (f"card {CARD}, thanks", "card [Filtered], thanks"),
    ("4242-4242-4242-4242", "[Filtered]"),
    ("2024 4242 4242 4242 4242", "2024 [Filtered]"),
    ("amex 3782 822463 10005", "amex [Filtered]"),
    ("2223003122003222", "[Filtered]"),
    (f"{IBAN} BANQUE DU NORD", "[Filtered] BANQUE DU NORD"),
    ("DE89370400440532013000.", "[Filtered]."),
    ("NL91 ABNA 0417 1643 00 EUR", "[Filtered] EUR"),
    # telephones
    ("call +33 6 12 34 56 78.", "call [Filtered]."),
    ("call +1 (415) 555-0132 or 06.12.34.56.78", "call [Filtered] or [Filtered]"),
    # e-mail
    ("from Ada <ada.l+x@mail.example.org>.", "from Ada <[Filtered]>."),
    ("?email=ada%2Bx%40example.org&page=2", "?email=[Filtered]&page=2"),
    ("to=a%40example.org%2Cb%40example.org", "to=[Filtered]%2C[Filtered]"),
    # URLs
    ("postgres://user:hunter2@host/db", "postgres://user:[Filtered]@host/db"),
    ("redis://:p@ss@host:6379/0", "redis://:[Filtered]@host:6379/0"),
    ("https://abc123@sentry.io/1", "https://[Filtered]@sentry.io/1"),
    ("GET /login/?token=abc&page=2", "GET /login/?token=[Filtered]&page=2"),
    ("/oauth?code=abc&sig=d#x", "/oauth?code=[Filtered]&sig=[Filtered]"),
    ("/next?to=%2Freset%3Ftoken%3Dabc", "/next?to=%2Freset%3Ftoken%3D[Filtered]"),
    # pairs
    ("password=hunter2", "password=[Filtered]"),
    ("login password=hunter2 failed", "login password=[Filtered] failed"),
    ("password: hunter2", "password: [Filtered]"),
    ("password => hunter2", "password => [Filtered]"),
    ("--password hunter2 --no-input", "--password [Filtered] --no-input"),
    ("--password=hunter2", "--password=[Filtered]"),
    ("{'password': 'hunter2', 'a': 1}", "{'password': '[Filtered]', 'a': 1}"),
    ('{"pin": 1234, "a": 1}', '{"pin": [Filtered], "a": 1}'),
    ('{"password":"hu\\"nter, 2"}', '{"password":"[Filtered]"}'),
    (r"{\"password\": \"hunter2\", \"a\": 1}", r"{\"password\": \"[Filtered]\", \"a\": 1}"),
    ("b'password=hunter2'", "b'password=[Filtered]'"),
    ("password=b'hunter two'", "password=b'[Filtered]'"),
    ("f(password=abc,user=bob)", "f(password=[Filtered],user=bob)"),
    ("password=hun,ter)2 x", "password=[Filtered] x"),
    ("password=C:\\temp x", "password=[Filtered] x"),
    ("password=SecretStr('a b'), x=1", "password=[Filtered], x=1"),
    ("tokens=['a', {'b': 'c'}], x=1", "tokens=[Filtered], x=1"),
    ("tokens=['a', 'b", "tokens=[Filtered]"),
    ("password='a''b' x", "password=[Filtered]' x"),
    ("password='cut in the mid", "password=[Filtered]"),
    ('request.POST["password"] = "x"', 'request.POST["password"] = "[Filtered]"'),
    (repr(User("x", "y")), "User(name='x', password='[Filtered]')"),
    ("""WHERE "auth_user"."password" = 'x' LIMIT 1""", """WHERE "auth_user"."password" = '[Filtered]' LIMIT 1"""),
    ("mot_de_passe: azerty", "mot_de_passe: [Filtered]"),
    # databases
    ("Key (email)=(ada@example.org) already exists.", "Key (email)=([Filtered]) already exists."),
    (
        "Key (lower(a), b)=(x (y) z, 3) is not present in table",
        "Key (lower(a), b)=([Filtered]) is not present in table",
    ),
    (
        "Key (a)=(1) conflicts with existing key (a)=(2).",
        "Key (a)=([Filtered]) conflicts with existing key (a)=([Filtered]).",
    ),
    ("La clé « (email)=(ada) » existe déjà.", "La clé « (email)=([Filtered]) » existe déjà."),
    ("Key (name)=(cut in", "Key (name)=([Filtered]"),
    ("DETAIL:  Failing row contains (1, ada, (x), null).\nend", "DETAIL:  Failing row contains ([Filtered]).\nend"),
    ("La ligne en échec contient (1, ada).", "La ligne en échec contient ([Filtered])."),
    ("Duplicate entry 'O'Brien' for key 'name'", "Duplicate entry '[Filtered]' for key 'name'"),
]


@pytest.mark.parametrize(("text", "result"), TEXTS)
def test_text_keeps_all_but_its_secret(text: str, result: str) -> None:
    assert scrubber.text(text) == result
    assert scrubber.text(result) == result


@pytest.mark.parametrize(("text", "result"), TEXTS)
def test_a_secret_is_found_in_the_middle_of_a_text(text: str, result: str) -> None:
    assert scrubber.text(f"on line 1\n{text}\n") == f"on line 1\n{result}\n" or result.endswith(FILTERED)


@pytest.mark.parametrize(
    "text",
    [
        "", "a", "organisation_created", "GET /organisations/42/ 200", "2026-11-23T07:47:00.123456Z", "07:47:00",
        "0f8fad5bd9cb469fa16570867728950e", "0f8fad5b-d9cb-469f-a165-70867728950e", "x" * 5000,
        "4242424242424241", "id a4242424242424242", "12345678-4242-4242-4242-424242424242", "0.4242424242424242",
        "FR76 3000 6000 0112 3456 7890 188", "AB12 WORDS THAT READ LIKE ONE", "1700000000000", "a+1", "2026-11-23 07:47:00+0100", "1.06 12 34 56 78", "+1 2 3",
        "Bearer token expired", "Basic authentication failed.", "Basic plan", "BASIC PLAN", "a basic idea",
        "django@5.2", "@decorator", "a @ b", "price: 4", "page=2&sort=name", "x = y", "if a == b:", "https://example.org/a",
        "http://localhost:8000/a@b", 'SELECT "token" FROM t WHERE "token" = %s AND "secret" = ?', "password=%(password)s",
        "password=None, token=null, has_password=True", "password=''", "token=datetime.datetime(2026, 1, 1)",
        "password::text", "--password --no-input", "a task-based risk-free desk", "ghost", "glossary", "eyJ", "SG.", "AKIA",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
        "ValueError: invalid literal for int() with base 10: 'x'", "KeyError: 'token'", "f(a)(b)",
    ],
)  # fmt: skip
def test_ordinary_text_is_the_same_object(text: str) -> None:
    assert Scrubber().text(text) is text


def test_an_email_address_may_be_kept() -> None:
    text = "from ada@example.org"

    assert Scrubber(emails=False).text(text) is text


def test_a_long_text_is_cut_between_words_and_marked() -> None:
    result = Scrubber(max_text=40).text(f"password=hunter2 and {JWT} and so on")

    assert result == f"password=[Filtered] and {CUT}"


def test_a_long_text_without_any_gap_is_dropped() -> None:
    assert scrubber.text("a" * 100_000) == CUT


def test_what_was_cut_is_not_cut_again() -> None:
    once = scrubber.text("word " * 50_000)

    assert scrubber.text(once) is once


# -- URLs, routes, command lines ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "result"),
    [
        ("/reset/MQ/c1a2b3-0123456789abcdef0123456789abcdef/", "/reset/MQ/[Filtered]/"),
        ("/login/Zk3v9Qx1LmT8pR2sW7yB4n/", "/login/[Filtered]/"),
        ("/invoice/dGhpcy1pcy1hLXRva2Vu_Q8-x", "/invoice/[Filtered]"),
        (f"/verify/{JWT}/", "/verify/[Filtered]/"),
        ("/u/ada@example.org/", "/u/[Filtered]/"),
        ("https://u:p@crm.example.org/x?key=1&b=2", "https://u:[Filtered]@crm.example.org/x?key=[Filtered]&b=2"),
        ("/a/9944b09199c62bcf9418ad846dd0e4bbdfc6ee4b/?next=/", "/a/[Filtered]/?next=/"),
    ],
)
def test_url_loses_what_looks_like_a_credential(url: str, result: str) -> None:
    assert scrubber.url(url) == result
    assert scrubber.url(result) == result


@pytest.mark.parametrize(
    "url",
    [
        "/", "", "/organisations/42/", "/o/0f8fad5b-d9cb-469f-a165-70867728950e/", "/2026/11/23/",
        "/articles/my-long-article-title-2024-final-version/", "/Quarterly-Report-2024-Final-Version/",
        "/myVeryLongCamelCaseSegmentName/", "/static/admin/css/base.0123456789ab.css", "/ORDER-2024-00012345-LYON-FR/",
        "/organisations?page=2#top", "/anticonstitutionnellement-incomprehensibilite/",
    ],
)  # fmt: skip
def test_an_ordinary_url_is_the_same_object(url: str) -> None:
    assert scrubber.url(url) is url


def test_random_tokens_are_told_from_words() -> None:
    tokens = [secrets.token_urlsafe(24) for _ in range(500)]

    assert sum(scrubber.url(f"/{token}/") != "/[Filtered]/" for token in tokens) <= 10


@pytest.mark.parametrize(
    ("path", "captured", "result"),
    [
        ("/login/abc123/", {"token": "abc123"}, "/login/{token}/"),
        ("/reset/MQ/set-password/", {"uidb64": "MQ", "token": "set-password"}, "/reset/{uidb64}/{token}/"),
        ("/v12/orgs/1/1/", {"code": "1", "pk": 7}, "/v12/orgs/{code}/{code}/"),
        ("/v12/orgs/1/1/", {"code": 1, "pk": 7}, "/v12/orgs/1/1/"),
        (f"/t/{uuid.UUID(int=1)}/", {"ticket": uuid.UUID(int=1)}, f"/t/{uuid.UUID(int=1)}/"),
        (f"/t/{uuid.UUID(int=1)}/", {"token": uuid.UUID(int=1)}, "/t/{token}/"),
        ("/invite-abc/", {"invitation": "abc"}, "/invite-{invitation}/"),
        ("/inviteabc/", {"key": "abc"}, "/invite{key}/"),
        ("/a%20b/a b/", {"secret": "a b"}, "/{secret}/{secret}/"),
        ("/token/key/", {"secret": "token", "key": "key"}, "/{secret}/{key}/"),
        ("/ab/abc/", {"otp": "ab", "token": "abc"}, "/{otp}/{token}/"),
    ],
)
def test_sensitive_parameters_of_a_route_become_their_names(path: str, captured: dict[str, Any], result: str) -> None:
    assert scrubber.route(path, captured) == result


@pytest.mark.parametrize("captured", [{}, {"pk": 7, "slug": "a"}, {"token": ""}, {"token": None}])
def test_other_parameters_stay(captured: dict[str, Any]) -> None:
    path = "/a/7/"

    assert scrubber.route(path, captured) is path


def test_a_query_string_loses_its_secrets() -> None:
    assert scrubber.query("code=a&page=2&password=b") == "code=[Filtered]&page=2&password=[Filtered]"


@pytest.mark.parametrize("query", ["", "page=2&sort=name"])
def test_an_ordinary_query_string_is_the_same_object(query: str) -> None:
    assert scrubber.query(query) is query


@pytest.mark.parametrize(
    ("argv", "result"),
    [
        (["--password", "hunter2"], ["--password", FILTERED]),
        (["--password=hunter2"], ["--password=[Filtered]"]),
        (["--db-password", "a b", "x"], ["--db-password", FILTERED, "x"]),
        (["--token", "--verbose", "x"], ["--token", "--verbose", "x"]),
        (["SECRET_KEY=x", "--db=postgres://a:b@c/d"], ["SECRET_KEY=[Filtered]", "--db=postgres://a:[Filtered]@c/d"]),
        (["--token=x", "y"], ["--token=[Filtered]", "y"]),
        (["manage.py", "runserver", "-p", "8000"], ["manage.py", "runserver", "-p", "8000"]),
    ],
)
def test_a_command_line_loses_its_secrets(argv: list[str], result: list[str]) -> None:
    assert scrubber.argv(argv) == result


# -- whatever comes -------------------------------------------------------------------------------------------------------

pieces = st.sampled_from(
    [
        *(text for text, _ in TEXTS), "password", "token", "=", ":", " ", "'", '"', "\\", "(", ")", "[", "]", "{", "}", ",", ";",
        "&", "?", "--", "@", "%40", "%3D", ")=(", "eyJ", "Bearer ", "://", ".", "\n", "a", "é", "1", FILTERED, "None", "b",
    ]
)  # fmt: skip
texts = st.one_of(st.text(), st.lists(pieces, max_size=8).map("".join))
leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), texts, st.binary())
any_keys = st.one_of(texts, st.sampled_from(SENSITIVE + HARMLESS), st.integers())
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(any_keys, inner, max_size=4),
        st.frozensets(leaves, max_size=3),
    ),
    max_leaves=20,
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(trees)
def test_scrubbing_twice_changes_nothing_more(tree: Any) -> None:
    once = scrubber.scrub(tree)

    assert scrubber.scrub(once) == once


@settings(max_examples=100, deadline=None)
@given(trees)
def test_what_is_given_is_never_changed(tree: Any) -> None:
    before = copy.deepcopy(tree)

    scrubber.scrub(tree)

    assert tree == before


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(trees)
def test_kinds_of_containers_are_kept(tree: Any) -> None:
    assert type(scrubber.scrub(tree)) is type(tree) or isinstance(tree, int)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(SENSITIVE), st.lists(st.sampled_from(["list", "tuple", "dict", "text"]), max_size=7))
def test_a_planted_secret_never_appears(key: str, ways: list[str]) -> None:
    tree: Any = {key: "pl4nted!"}
    for way in ways:
        tree = {"list": lambda t: [1, t], "tuple": lambda t: (t,), "dict": lambda t: {"a": t}, "text": repr}[way](tree)

    assert "pl4nted" not in repr(scrubber.scrub(tree))


# -- bodies ---------------------------------------------------------------------------------------------------------------

CODES = [
    "123456",
    "123 456",
    "a1b2c3d4",
    "XK4D-92JF",
    "9f8e-7d6c-5b4a",
    "MQ" * 16,
    "Zk3v9Qx1LmT8pR2sW7yB",
    123456,
    ["FR", "123456"],
]
NO_CODES = [
    "FR",
    "75001",
    "annual-plan",
    "organisation.name",
    "E404",
    "",
    None,
    True,
    75001,
    ["FR", "DE"],
    1.5,
    "two words here",
]


@pytest.mark.parametrize("key", ["code", "key", "ticket", "nonce", "hash", "Code", "recoveryCode"])
@pytest.mark.parametrize("value", CODES, ids=repr)
def test_a_code_in_a_body_does_not_leave(key: str, value: object) -> None:
    assert scrubber.body({"form": [{key: value}]}) == {"form": [{key: FILTERED}]}


@pytest.mark.parametrize("key", ["code", "key", "ticket"])
@pytest.mark.parametrize("value", NO_CODES, ids=repr)
def test_what_only_has_the_name_of_a_code_stays(key: str, value: object) -> None:
    body = {"form": [{key: value}]}

    assert scrubber.body(body) == body


def test_what_has_the_form_of_a_code_stays_by_another_name_and_outside_of_bodies() -> None:
    assert scrubber.body({"reference": "a1b2c3d4"}) == {"reference": "a1b2c3d4"}
    assert scrubber.scrub({"code": "a1b2c3d4"}) == {"code": "a1b2c3d4"}


def test_a_body_loses_what_anything_loses() -> None:
    renamed = scrubber.body({"password": "x", "note": "at /login/abc/"}, lambda text: text.replace("abc", "{token}"))

    assert renamed == {"password": FILTERED, "note": "at /login/{token}/"}


# -- cost -----------------------------------------------------------------------------------------------------------------

HOSTILE = [
    "a", '"', "(", "(((", "Bearer ", "Bearer", "a@a@a@", "a@a.", "4", "4242 ", "eyJ.eyJ.", "eyJ", "eyJaaaaaa.", "=&=&", "Key (",
    ")=(", "password=", "password='", "password=(", "password=))", "password=a'b'", "token=[{", "token=\\\\'", "token=a,b", "--a ",
    "-----BEGIN ", "-----BEGIN A-----", "FR76", "FR76 3000 ", "://a:", "://a:b", "https://a", '\\"', ") ", "a,", "a.", "%40",
    "%2B", "%2Ba", "%sa", "sk-", "ghp_", "sk_live_", "gl", "SG.aaaaaaaaaaaaaaaaaaaa.", "Duplicate entry '", "row contains (",
    "row contains (1)\n", "cookie: a\n", " ", "\n", "2024-", "A", "token=?",
]  # fmt: skip
OPENS_EVERY_GATE = " =:--a earer 1234 1234 %40 gh '://@ http:// eyJ )=( row contains ( Duplicate entry ' -----BEGIN\n"


def _seconds(text: str, function: Callable[[str], object]) -> float:
    began = process_time()
    function(text)
    return process_time() - began


@pytest.mark.slow
@pytest.mark.parametrize("unit", HOSTILE)
@pytest.mark.parametrize("head", ["", OPENS_EVERY_GATE])
def test_time_grows_with_the_text_and_no_faster(unit: str, head: str) -> None:
    function = Scrubber(max_text=10**9).text
    short, long = (head + unit * (size // len(unit)) for size in (10_000, 80_000))

    reference = max(min(_seconds(short, function) for _ in range(3)), 1e-3)

    # Eight times the text: a linear pattern takes eight times as long, a quadratic one sixty-four times.
    assert any(_seconds(long, function) / reference < 27 for _ in range(2))


@pytest.mark.parametrize("unit", ["a_", "aB", "é", "password", "s"])
def test_time_for_a_key_grows_with_it_and_no_faster(unit: str) -> None:
    short, long = (unit * (size // len(unit)) for size in (5_000, 40_000))

    ratio = min(_seconds(long, scrubber.is_sensitive) for _ in range(2)) / max(
        min(_seconds(short, scrubber.is_sensitive) for _ in range(3)), 1e-3
    )

    assert ratio < 27


def test_a_megabyte_of_ordinary_text_is_cut_before_it_costs() -> None:
    assert _seconds("user = ada, page: 2; " * 50_000, scrubber.text) < 0.5


@pytest.mark.parametrize("module", [field_names, secret_forms, scrubber_module])
def test_the_modules_import_nothing_but_the_standard_library(module: ModuleType) -> None:
    assert not re.search(r"(?m)^\s*(?:import|from) (?:django|sentry_sdk|structlog)", inspect.getsource(module))
