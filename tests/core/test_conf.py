from __future__ import annotations

import enum
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext_lazy

from crm_monitoring import conf, get_traces_sample_rate
from crm_monitoring.conf import MASK, Config, Keys, Problem, Unusable, key, parse_options, parsing
from crm_monitoring.dashboard.config import DashboardConfig
from crm_monitoring.management.commands.monitoring import effective_setting
from tests.clients import WSGIClient
from tests.conftest import Lines
from tests.readme import settings_table

ROOT = Path(__file__).parents[2]
ENVIRONMENT_KEYS = {
    "SENTRY_DSN": "https://public@sentry.example/7",
    "ENVIRONMENT": "staging",
    "LOG_LEVEL": "WARNING",
    "SENTRY_RELEASE": "2.1",
}


class Stage(enum.StrEnum):
    STAGING = "staging"


def effective_value(name: str) -> Any:
    """The effective value of a key, whoever has it."""
    return {known: value for known, _, value in conf.values()}[name]


def problem() -> Problem:
    (found,) = conf.load().problems
    return found


# -- where a value comes from ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "value"), ENVIRONMENT_KEYS.items())
def test_the_environment_counts_before_the_default(
    monitoring: Any, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    monitoring()

    assert getattr(conf.get(), name) == value


@pytest.mark.parametrize(("name", "value"), ENVIRONMENT_KEYS.items())
def test_the_setting_counts_before_the_environment(
    monitoring: Any, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, "https://other@sentry.example/8" if name == "SENTRY_DSN" else "ERROR")

    monitoring(**{name: value})

    assert getattr(conf.get(), name) == value


@pytest.mark.parametrize("name", ENVIRONMENT_KEYS)
@pytest.mark.parametrize("blank", ["", "  \n"])
def test_a_blank_variable_counts_as_not_set(
    monitoring: Any, monkeypatch: pytest.MonkeyPatch, name: str, blank: str
) -> None:
    monitoring()
    default = effective_value(name)
    monkeypatch.setenv(name, blank)

    monitoring(LOG_FORMAT="json")

    assert effective_value(name) == default
    assert conf.load().problems == ()


def test_blanks_around_a_variable_do_not_count(monitoring: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", " debug\n")

    monitoring()

    assert conf.get().LOG_LEVEL == "DEBUG"


@pytest.mark.parametrize("name", conf.known_keys())
def test_none_counts_as_left_out(monitoring: Any, name: str) -> None:
    monitoring()
    default = effective_value(name)

    monitoring(**{name: None})

    assert effective_value(name) == default
    assert conf.load().problems == ()


def test_an_empty_dsn_in_the_setting_turns_off_the_one_of_the_environment(
    monitoring: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENTRY_DSN", "https://public@sentry.example/7")

    monitoring(SENTRY_DSN="")

    assert conf.get().SENTRY_DSN == ""


@pytest.mark.parametrize("given", [None, {}])
def test_nothing_has_to_be_set(settings: Any, given: dict[str, Any] | None) -> None:
    settings.CRM_MONITORING = given

    assert conf.load().problems == ()
    assert conf.get().ENVIRONMENT == "production"


def test_a_settings_module_without_the_setting_will_do(settings: Any) -> None:
    del settings.CRM_MONITORING

    assert conf.load().problems == ()


@pytest.mark.parametrize(("debug", "environment"), [(True, "development"), (False, "production")])
def test_the_environment_follows_debug(settings: Any, monitoring: Any, debug: bool, environment: str) -> None:
    monitoring()

    settings.DEBUG = debug

    effective = conf.get().ENVIRONMENT
    assert effective == environment


def test_a_changed_setting_is_in_effect_at_once(monitoring: Any) -> None:
    monitoring(LOG_LEVEL="ERROR")
    first = logging.getLogger().level

    monitoring(LOG_LEVEL="DEBUG")

    assert (first, logging.getLogger().level) == (logging.ERROR, logging.DEBUG)


def test_the_effective_setting_cannot_be_changed() -> None:
    with pytest.raises(AttributeError, match="LOG_LEVEL cannot be changed here: write it in CRM_MONITORING"):
        conf.get().LOG_LEVEL = "DEBUG"


def test_settings_are_equal_where_all_their_keys_are() -> None:
    assert Config(LOG_LEVEL="DEBUG") == Config(LOG_LEVEL="DEBUG") != Config()
    assert Config() != vars(Config())


def test_the_setting_shows_no_secret_by_itself() -> None:
    told = repr(Config(SENTRY_DSN="https://s3cr3t@x/1", SENTRY_OPTIONS={"proxy": "s3cr3t"}, LOG_LEVEL="DEBUG"))

    assert f"SENTRY_DSN='{MASK}'" in told
    assert f"SENTRY_OPTIONS={{'proxy': '{MASK}'}}" in told
    assert "LOG_LEVEL='DEBUG'" in told
    assert "s3cr3t" not in told


def test_defaults_are_not_shared() -> None:
    assert Config().TRACES_SAMPLE_RATE is not conf.TRACES_SAMPLE_RATES


# -- values that can be used ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "given", "effective"),
    [
        ("ENVIRONMENT", Stage.STAGING, "staging"),
        ("ENVIRONMENT", SimpleLazyObject(lambda: "qa"), "qa"),
        ("ENVIRONMENT", " staging ", "staging"),
        ("SENTRY_DSN", " https://public@sentry.example:9000/prefix/7 ", "https://public@sentry.example:9000/prefix/7"),
        ("SENTRY_DSN", "http://public:secret@[::1]/7", "http://public:secret@[::1]/7"),
        ("SENTRY_DSN", "  ", ""),
        ("LOG_LEVEL", "warning", "WARNING"),
        ("TRACES_SAMPLE_RATE", 1, 1.0),
        ("TRACES_SAMPLE_RATE", {"qa": 0}, {"qa": 0.0}),
        ("TRACES_METHODS", ["get"], ("GET",)),
        ("FAILED_REQUEST_STATUS_CODES", range(403, 405), frozenset({403, 404})),
        ("TRUSTED_PROXIES", ["10.0.0.1/8", "::1", "unix"], ("10.0.0.1/8", "::1", "unix")),
        ("REQUEST_ID_HEADER", "X-Correlation-ID", "X-Correlation-ID"),
        ("LOG_MAX_STRING", 256, 256),
        ("SLOW_QUERY_MS", 0, 0),
        ("SENTRY_URL", "https://de.sentry.io", "https://de.sentry.io/"),
        ("SENTRY_URL", " http://[::1]:9000/sentry/ ", "http://[::1]:9000/sentry/"),
        ("SENTRY_AUTH_TOKEN", " sntrys_x=_y ", "sntrys_x=_y"),
    ],
)
def test_a_value_becomes_what_its_key_wants(monitoring: Any, name: str, given: Any, effective: Any) -> None:
    monitoring(**{name: given})

    assert effective_value(name) == effective
    assert type(effective_value(name)) is type(effective)
    assert conf.load().problems == ()


# -- values that cannot ---------------------------------------------------------------------------------------------------

NAN = float("nan")
BAD = [
    ("TRACES_SAMPLE_RATE", 10, conf.BAD_RATE, "10"),
    ("TRACES_SAMPLE_RATE", -0.1, conf.BAD_RATE, "-0.1"),
    ("TRACES_SAMPLE_RATE", NAN, conf.BAD_RATE, "nan"),
    ("TRACES_SAMPLE_RATE", float("inf"), conf.BAD_RATE, "inf"),
    ("TRACES_SAMPLE_RATE", True, conf.WRONG_TYPE, "True"),
    ("TRACES_SAMPLE_RATE", "0.1", conf.WRONG_TYPE, "'0.1'"),
    ("TRACES_SAMPLE_RATE", {"production": 2}, conf.BAD_RATE, "'production'"),
    ("TRACES_SAMPLE_RATE", {3: 0.1}, conf.WRONG_TYPE, "3"),
    ("TRACES_SAMPLE_RATE_OVERRIDES", {"/api/": "all"}, conf.WRONG_TYPE, "'/api/'"),
    ("TRACES_SAMPLE_RATE_OVERRIDES", 0.5, conf.WRONG_TYPE, "0.5"),
    ("LOG_LEVEL", "LOUD", conf.BAD_LOG_LEVEL, "'LOUD'"),
    ("LOG_LEVEL", 20, conf.BAD_LOG_LEVEL, "20"),
    ("LOG_LEVEL", b"INFO", conf.BAD_LOG_LEVEL, "bytes"),
    ("LOG_FORMAT", "xml", conf.BAD_CHOICE, "'xml'"),
    ("LOG_FORMAT", ["json"], conf.BAD_CHOICE, "list"),
    ("ENVIRONMENT", 3, conf.BAD_ENVIRONMENT, "3"),
    ("ENVIRONMENT", "", conf.BAD_ENVIRONMENT, "empty"),
    ("ENVIRONMENT", b"production", conf.BAD_ENVIRONMENT, "bytes"),
    ("ENVIRONMENT", gettext_lazy("production"), conf.BAD_ENVIRONMENT, "__proxy__"),
    ("SENTRY_RELEASE", 1.2, conf.WRONG_TYPE, "1.2"),
    ("SENTRY_OPTIONS", ["debug"], conf.WRONG_TYPE, "list"),
    ("FAILED_REQUEST_STATUS_CODES", 404, conf.WRONG_TYPE, "404"),
    ("FAILED_REQUEST_STATUS_CODES", ["404"], conf.WRONG_TYPE, "'404'"),
    ("FAILED_REQUEST_STATUS_CODES", [True], conf.WRONG_TYPE, "True"),
    ("FAILED_REQUEST_STATUS_CODES", [42], conf.BAD_NUMBER, "42"),
    ("LOG_CLIENT_IP", 1, conf.WRONG_TYPE, "1"),
    ("LOG_MAX_STRING", 10, conf.BAD_NUMBER, "10"),
    ("SLOW_QUERY_MS", -1, conf.BAD_NUMBER, "-1"),
    ("SLOW_QUERY_MS", NAN, conf.BAD_NUMBER, "nan"),
    ("SLOW_QUERY_MS", True, conf.WRONG_TYPE, "True"),
    ("HOOKS", "project.hook", conf.WRONG_TYPE, "'project.hook'"),
    ("HOOKS", [3], conf.WRONG_TYPE, "3"),
    ("TRUSTED_PROXIES", ["proxy.local"], conf.BAD_NETWORK, "'proxy.local'"),
    ("REQUEST_ID_HEADER", "X Request", conf.BAD_CHOICE, "'X Request'"),
    ("REQUEST_ID_HEADER", "X-Réq", conf.BAD_CHOICE, "'X-Réq'"),
    ("SENTRY_URL", "sentry.io", conf.BAD_CHOICE, "'sentry.io'"),
    ("SENTRY_URL", "", conf.BAD_CHOICE, "''"),
    ("SENTRY_URL", "ftp://sentry.io/", conf.BAD_CHOICE, "'ftp://sentry.io/'"),
    ("SENTRY_URL", "https:///api/", conf.BAD_CHOICE, "'https:///api/'"),
    ("SENTRY_URL", "https://sentry.io:port/", conf.BAD_CHOICE, "does not parse"),
    ("SENTRY_URL", "https://sentry.io /", conf.BAD_CHOICE, "characters"),
    ("SENTRY_URL", "https://séntry.io/", conf.BAD_CHOICE, "characters"),
    ("SENTRY_URL", "https://sentry.io/?a=b", conf.BAD_CHOICE, "more than a host and a path"),
    ("SENTRY_URL", b"https://sentry.io/", conf.WRONG_TYPE, "bytes"),
]


@pytest.mark.parametrize(("name", "value", "check_id", "shown"), BAD, ids=[f"{bad[0]}-{bad[1]!r}" for bad in BAD])
def test_a_bad_value_is_a_problem_that_names_key_and_value(
    monitoring: Any, name: str, value: Any, check_id: str, shown: str
) -> None:
    monitoring(**{name: value})

    assert problem().id == check_id
    assert problem().key == name
    assert f"CRM_MONITORING['{name}']" in problem().message
    assert shown in problem().message
    assert problem().hint


@pytest.mark.parametrize(
    ("dsn", "complaint"),
    [
        ("sentry.example/7", "does not begin"),
        ("ftp://SECRET@sentry.example/7", "does not begin"),
        ("https://sentry.example/7", "no public key"),
        ("https://SECRET@/7", "no host"),
        ("https://SECRET@sentry.example/", "number of the project"),
        ("https://SECRET@sentry.example/crm", "number of the project"),
        ("https://SECRET@sentry.example:port/7", "does not parse"),
        ("https://SECRET@[sentry/7", "does not parse"),
        ("https://SECRET@sentry.example /7", "characters"),
        ("https://SECRET@sentry.example/²", "characters"),
        (b"https://SECRET@sentry.example/7", "not text"),
    ],
)
def test_a_dsn_that_does_not_parse_is_a_problem_that_keeps_its_secret(
    monitoring: Any, dsn: Any, complaint: str
) -> None:
    monitoring(SENTRY_DSN=dsn)

    assert problem().id == conf.BAD_DSN
    assert complaint in problem().message
    assert "SECRET" not in problem().message + problem().hint
    assert conf.get().SENTRY_DSN == ""


@pytest.mark.parametrize(
    "keys",
    [
        {"TRUSTED_PROXIES": ["admin:hunter2@10.0.0.1"]},
        {"TRUSTED_PROXIES": ["http://admin:hunter2@10.0.0.1"]},
        {"LOG_FORMAT": "https://hunter2@sentry.example/7"},
        {"TRACES_SAMPLE_RATE": {"https://hunter2@sentry.example/7": 2}},
        {"https://hunter2@sentry.example/7": True},
        {"HOOKS": [{"password": "hunter2"}]},
        {"SENTRY_OPTIONS": ["hunter2"]},
        {"SENTRY_URL": "https://admin:hunter2@sentry.example/"},
        {"SENTRY_AUTH_TOKEN": b"hunter2"},
        {"SENTRY_AUTH_TOKEN": "hunter2\nhunter2"},
        {"SENTRY_AUTH_TOKEN": "hunter2 hunter2"},
        {"SENTRY_AUTH_TOKEN": "hunter2é"},
        {"SENTRY_AUTH_TOKEN": "hunter2\udcff"},
    ],
)
def test_a_secret_in_the_wrong_place_is_not_repeated(monitoring: Any, keys: dict[str, Any]) -> None:
    monitoring(**keys)

    assert "hunter2" not in problem().message + problem().hint


def test_a_variable_that_is_no_text_is_a_problem(monitoring: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVIRONMENT", "\udcff")

    monitoring()

    assert problem().id == conf.BAD_ENVIRONMENT
    assert problem().message.startswith("The environment variable ENVIRONMENT is '\\udcff'")
    assert conf.get().ENVIRONMENT == "production"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("SENTRY_DNS", "Did you mean 'SENTRY_DSN'?"),
        ("log_level", "Did you mean 'LOG_LEVEL'?"),
        ("zzz", "The keys are SENTRY_DSN, "),
    ],
)
def test_an_unknown_key_is_a_problem_with_a_suggestion(monitoring: Any, name: str, hint: str) -> None:
    monitoring(**{name: "x"})

    assert (problem().id, problem().key) == (conf.UNKNOWN_KEY, name)
    assert problem().hint.startswith(hint)


def test_a_setting_that_is_no_dict_is_a_problem(settings: Any) -> None:
    settings.CRM_MONITORING = ["LOG_LEVEL"]

    assert problem().id == conf.WRONG_TYPE
    assert problem().message == "CRM_MONITORING is of type list; it must be a dict."


@pytest.mark.parametrize(
    ("name", "value", "effective"),
    [
        ("TRACES_SAMPLE_RATE", 10, 0.0),
        ("TRACES_SAMPLE_RATE_OVERRIDES", {"/": 2}, {}),
        ("TRUSTED_PROXIES", ["everybody"], ()),
        ("TRUST_REQUEST_ID", "no", False),
        ("CONFIGURE_LOGGING", "no", False),
        ("LOG_CLIENT_IP", "yes", False),
        ("SLOW_QUERY_MS", "fast", 0),
        ("N_PLUS_ONE_THRESHOLD", "many", 0),
        ("LOG_LEVEL", "LOUD", "INFO"),
        ("HOOKS", "project.hook", ()),
        # Not the default: the token of one server is nothing for another.
        ("SENTRY_URL", "sentry.example", ""),
        ("SENTRY_AUTH_TOKEN", 7, ""),
    ],
)
def test_a_key_that_cannot_be_used_is_off_or_harmless(monitoring: Any, name: str, value: Any, effective: Any) -> None:
    monitoring(**{name: value})

    assert effective_value(name) == effective


@pytest.mark.parametrize(("name", "value", "check_id", "shown"), BAD, ids=[f"{bad[0]}-{bad[1]!r}" for bad in BAD])
def test_the_site_serves_with_a_bad_value_and_health_says_so(
    wsgi: WSGIClient, lines: Lines, monitoring: Any, name: str, value: Any, check_id: str, shown: str
) -> None:
    monitoring(**{name: value})

    answers = wsgi.get("/ok/"), wsgi.get("/health/monitoring")

    assert [answer.status for answer in answers] == [200, 200]
    assert answers[1].json()["status"] == "degraded"
    assert answers[1].json()["monitoring"]["problems"] == [f"{check_id}: {name} cannot be used as it is set."]


def test_one_bad_key_does_not_cost_the_others(monitoring: Any) -> None:
    monitoring(LOG_LEVEL="LOUD", ENVIRONMENT="staging", SLOW_QUERY_MS=5)

    assert (conf.get().ENVIRONMENT, conf.get().SLOW_QUERY_MS) == ("staging", 5)


# -- the share of requests traced -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "rate"), [("production", 0.1), ("staging", 0.5), ("development", 1.0), ("qa", 0.1)]
)
def test_the_rate_follows_the_environment(monitoring: Any, environment: str, rate: float) -> None:
    monitoring(ENVIRONMENT=environment)

    assert get_traces_sample_rate() == rate


@pytest.mark.parametrize(
    ("given", "environment", "rate"),
    [(0.25, "development", 0.25), ({"qa": 0.7}, "qa", 0.7), ({"qa": 0.7}, "production", 0.1)],
)
def test_a_number_or_another_table_replaces_the_rates(
    monitoring: Any, given: Any, environment: str, rate: float
) -> None:
    monitoring(TRACES_SAMPLE_RATE=given, ENVIRONMENT=environment)

    assert get_traces_sample_rate() == rate


def test_sentrys_own_option_wins_over_the_rates(monitoring: Any) -> None:
    monitoring(SENTRY_OPTIONS={"traces_sample_rate": 0.3})

    assert get_traces_sample_rate() == 0.3


# -- what is said of the keys ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("declared", [Config, DashboardConfig])
def test_every_key_has_a_type_a_parser_and_one_line_of_meaning(declared: type[Keys]) -> None:
    assert declared.declared.keys() == declared.__annotations__.keys()
    for spec in declared.declared.values():
        assert callable(spec.parse)
        assert spec.meaning.endswith(".")
        assert "\n" not in spec.meaning


@pytest.mark.parametrize("name", conf.known_keys())
def test_every_default_passes_its_own_parser(name: str) -> None:
    spec = conf.known_keys()[name]

    assert spec.default in ("", None) or spec.parse(spec.default) == spec.default


def test_the_readmes_table_has_one_row_a_key() -> None:
    rows = settings_table().splitlines()[2:]

    assert [row.split("`")[1] for row in rows] == list(conf.known_keys())
    assert all(row.replace("\\|", "").count("|") == 5 for row in rows)
    assert any("Environment variable: `SENTRY_DSN`." in row for row in rows)


def test_a_back_end_that_nobody_knows_is_an_error(monitoring: Any) -> None:
    monitoring(BACKEND="sentri")

    (problem,) = conf.load().problems
    assert problem.id == "crm_monitoring.E007"
    assert conf.get().BACKEND == "sentry"


# -- the keys of an app ---------------------------------------------------------------------------------------------------


class Pager(Keys):
    """The keys of an app that calls people."""

    PAGER_CODE: str = key("", parsing.text, "Code of the pager.", secret=True)
    PAGER_TIMES: int = key(3, parsing.whole(1, 9), "How often it calls.", env="PAGER_TIMES", unusable=1)


@pytest.fixture
def pager() -> Iterator[None]:
    conf.register(Pager)
    conf.register(Pager)
    yield
    conf.unregister(Pager)


@pytest.mark.usefixtures("pager")
def test_the_keys_of_an_app_are_keys_like_all(monitoring: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGER_TIMES", "5")
    monitoring(PAGER_CODE=" 1234 ")

    assert conf.load().problems[0].message == "The environment variable PAGER_TIMES is '5'; it must be a whole number."
    assert (conf.read(Pager).PAGER_CODE, conf.read(Pager).PAGER_TIMES) == ("1234", 1)
    assert effective_setting()["PAGER_CODE"] == MASK


@pytest.mark.usefixtures("pager")
@pytest.mark.parametrize("given", [1234, "1234\udcff", ["1234"]])
def test_no_sentence_repeats_a_value_that_is_declared_secret(monitoring: Any, given: Any) -> None:
    monitoring(PAGER_CODE=given)

    assert f"CRM_MONITORING['PAGER_CODE'] is of type {type(given).__name__}" in problem().message
    assert "1234" not in problem().message + problem().hint


@pytest.mark.usefixtures("pager")
def test_the_hint_for_an_unknown_key_knows_those_of_apps(monitoring: Any) -> None:
    monitoring(PAGER_TIME=3)

    assert problem().hint == "Did you mean 'PAGER_TIMES'?"


def test_keys_that_nobody_registered_can_be_read_and_are_told_of_as_unknown(monitoring: Any) -> None:
    monitoring(PAGER_TIMES=7)

    assert conf.read(Pager).PAGER_TIMES == 7
    assert problem().id == conf.UNKNOWN_KEY


def test_options_are_parsed_as_keys_are() -> None:
    assert parse_options(Pager.declared, {"PAGER_TIMES": 2, "PAGER_CODE": None}, "a pager") == {
        "PAGER_TIMES": 2,
        "PAGER_CODE": "",
    }


@pytest.mark.parametrize(
    ("given", "complaint", "hint"),
    [
        ({"PAGER_TIME": 2}, "has an option 'PAGER_TIME', which a pager does not have", "Did you mean 'PAGER_TIMES'?"),
        (
            {"PAGER_TIMES": 10},
            "['PAGER_TIMES'] is 10; it must be between 1 and 9",
            "Write a number from 1 to 9.",
        ),
        ({"PAGER_CODE": 12}, "['PAGER_CODE'] is of type int; it must be text", "Write it in quotes."),
    ],
)
def test_the_first_option_that_cannot_be_used_is_told(given: dict[str, Any], complaint: str, hint: str) -> None:
    with pytest.raises(Unusable) as raised:
        parse_options(Pager.declared, given, "a pager")

    assert (raised.value.sentence(), raised.value.hint) == (complaint, hint)


def test_an_option_without_default_has_to_be_given() -> None:
    needed = {"code": key(conf.REQUIRED, parsing.filled("Ask for it."), "the code that you were given.")}

    with pytest.raises(Unusable, match="has no code") as missing:
        parse_options(needed, {}, "a pager")
    with pytest.raises(Unusable, match=r"\['code'\] is empty"):
        parse_options(needed, {"code": " "}, "a pager")

    assert missing.value.hint == "Write 'code': the code that you were given."
    assert parse_options(needed, {"code": "x"}, "a pager") == {"code": "x"}


@pytest.mark.parametrize("given", [90, 61])
def test_a_whole_number_may_have_to_be_a_multiple(given: int) -> None:
    with pytest.raises(Unusable, match="must be a multiple of 60"):
        parsing.whole(60, step=60)(given)

    assert parsing.whole(60, step=60)(120) == 120


ORDER = """
import json, django
from django.conf import settings

apps = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"]
settings.configure(
    INSTALLED_APPS=PLACES,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    CRM_MONITORING={"APDEX_MS": 250, "RETENTON_DAYS": 3},
)
django.setup()
from crm_monitoring import conf
print(json.dumps([problem.hint for problem in conf.load().problems]))
"""


@pytest.mark.processes
@pytest.mark.parametrize(
    "places",
    ['["crm_monitoring", *apps, "crm_monitoring.dashboard"]', '["crm_monitoring.dashboard", *apps, "crm_monitoring"]'],
)
def test_the_order_of_apps_does_not_matter_to_their_keys(places: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ORDER.replace("PLACES", places)], capture_output=True, text=True, check=True, cwd=ROOT
    )

    assert json.loads(done.stdout.splitlines()[-1]) == ["Did you mean 'RETENTION_DAYS'?"]
