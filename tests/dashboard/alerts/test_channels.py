"""How each channel says a message, to real servers, and that none tells a secret."""

from __future__ import annotations

import hmac
import io
import logging
import sys
import traceback
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest
from django.core import mail

from crm_monitoring import check_monitoring_health
from crm_monitoring.conf import REQUIRED, key, parsing
from crm_monitoring.dashboard import posting
from crm_monitoring.dashboard.alerts import channels
from crm_monitoring.dashboard.alerts.channels import Channel, NotSent, parse, slack
from crm_monitoring.dashboard.alerts.channels.slack import slack_blocks
from crm_monitoring.dashboard.alerts.messages import Message, as_text, from_json
from tests.dashboard.receivers import HANG, Hook, Mailbox, a_hook, a_mail_server, use_mail_server

MESSAGE = Message(
    step="start",
    rule="new_issue",
    kind="new_issue",
    environment="production",
    headline="New issue: ValueError: <b> & co",
    status="Alert",
    since="2026-11-23T10:00:00+00:00",
    moment="2026-11-23T10:00:10+00:00",
    figures=(("Measured", "events: 1"),),
    stack=("shop/views.py:42 in buy", "x.py:1 in <lambda>"),
    url="https://crm.example.org/monitoring/issues/1/",
    dashboard_url="https://crm.example.org/monitoring/",
    thread="ab12",
)
SECRET = "the-secret-of-the-webhook"


def channel(**options: Any) -> Channel:
    (found,), problems = parse({"it": options})
    assert problems == ()
    return found


def changed(**given: Any) -> Message:
    return Message(**{name: getattr(MESSAGE, name) for name in Message.__slots__} | given)


@pytest.fixture
def mailbox(settings: Any) -> Iterator[Mailbox]:
    with a_mail_server() as mailbox:
        use_mail_server(settings, mailbox.port)
        settings.SERVER_EMAIL = "Site <site@example.org>"
        yield mailbox


@pytest.fixture
def hook() -> Iterator[Hook]:
    with a_hook(strict=True) as hook:
        yield hook


def failure(one: Channel) -> NotSent:
    with pytest.raises(NotSent) as raised:
        channels.send(one, MESSAGE, "7")
    return raised.value


# -- e-mail ---------------------------------------------------------------------------------------------------------------


def test_a_mail_says_it_in_text_and_html_with_the_way_out(mailbox: Mailbox) -> None:
    channel(type="email", to=["team@example.org", "Boss <boss@example.org>"]).send(MESSAGE, "7")

    (received,) = mailbox.mails
    text, html = (part.get_content().replace("\r\n", "\n") for part in received.iter_parts())
    assert received["Subject"] == "[production] New issue: ValueError: <b> & co"
    assert (received["From"], received["To"]) == (
        "Site <site@example.org>",
        "team@example.org, Boss <boss@example.org>",
    )
    assert "Alert: New issue: ValueError: <b> & co\n\nEnvironment: production\nSince: 2026-11-23 10:00:00 UTC\n" in text
    assert "shop/views.py:42 in buy" in text
    assert "https://crm.example.org/monitoring/issues/1/" in text
    assert "in the channel “it”" in text
    assert "<h2>Alert: New issue: ValueError: &lt;b&gt; &amp; co</h2>" in html
    assert '<a href="https://crm.example.org/monitoring/issues/1/">' in html
    assert "in the channel “it”" in html
    assert received["List-Unsubscribe"] == "<mailto:site@example.org?subject=unsubscribe>"
    assert received["Auto-Submitted"] == "auto-generated"


def test_the_mails_of_a_rule_and_subject_are_a_thread(mailbox: Mailbox) -> None:
    team = channel(type="email", to=["team@example.org"])

    team.send(MESSAGE, "7")
    team.send(changed(step="end", status="Over", environment="", stack=(), url="", dashboard_url=""), "8")

    first, last = mailbox.mails
    assert (first["Message-ID"], last["Message-ID"]) == ("<ab12.7@example.org>", "<ab12.8@example.org>")
    assert first["References"] == last["References"] == last["In-Reply-To"] == "<ab12@example.org>"
    assert last["Subject"] == "Re: New issue: ValueError: <b> & co"


@pytest.mark.parametrize("admins", [["admin@example.org"], [("Admin", "admin@example.org")]])
def test_without_addresses_the_admins_are_told(settings: Any, admins: Any) -> None:
    settings.ADMINS = admins

    channel(type="email").send(MESSAGE, "7")

    assert mail.outbox[0].to == ["admin@example.org"]


def test_a_mail_server_that_is_down_is_told_without_its_words(mailbox: Mailbox, settings: Any) -> None:
    use_mail_server(settings, 1)

    assert failure(channel(type="email", to=["team@example.org"])).reason == "ConnectionRefusedError"


# -- Slack ----------------------------------------------------------------------------------------------------------------


def test_slack_takes_it_as_blocks_and_text(hook: Hook) -> None:
    channel(type="slack", url=hook.url).send(MESSAGE, "7")

    (posted,) = hook.bodies()
    header, fields, stack, links = posted["blocks"]
    assert posted["text"] == "Alert: New issue: ValueError: <b> & co"
    assert header["text"]["text"] == "Alert: New issue: ValueError: <b> & co"
    assert [field["text"] for field in fields["fields"]][:2] == [
        "*Environment*\nproduction",
        "*Since*\n2026-11-23 10:00:00 UTC",
    ]
    assert stack["text"]["text"] == "```shop/views.py:42 in buy\nx.py:1 in &lt;lambda&gt;```"
    assert links["elements"][0]["text"] == (
        "<https://crm.example.org/monitoring/issues/1/|Details> · <https://crm.example.org/monitoring/|Dashboard>"
    )


def test_slack_takes_the_longest_and_the_shortest_message(hook: Hook) -> None:
    slack = channel(type="slack", url=hook.url)
    long = "&<>`" * 5_000

    slack.send(changed(headline=long, stack=(long,), figures=((long, long),) * 20), "7")
    slack.send(changed(stack=(), url="", dashboard_url=""), "8")

    longest, shortest = hook.bodies()
    assert len(longest["blocks"][0]["text"]["text"]) == 150
    assert len(longest["blocks"][1]["fields"]) == 10
    assert len(shortest["blocks"]) == 2


def test_slack_refuses_what_it_cannot_show(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slack, "slack_blocks", lambda message: [])

    assert failure(channel(type="slack", url=hook.url)).reason == "HTTP 400"


@pytest.mark.parametrize(("header", "seconds"), [("120", 120.0), ("999999", 3_600.0), ("soon", 0.0)])
def test_slack_says_when_it_takes_more(hook: Hook, header: str, seconds: float) -> None:
    hook.statuses, hook.retry_after = [429], header

    refused = failure(channel(type="slack", url=hook.url))

    assert (refused.reason, refused.retry_after) == ("HTTP 429", seconds)


# -- Discord and Teams ----------------------------------------------------------------------------------------------------


class DiscordServer:
    """What Discord refuses: see its reference of embeds."""

    @staticmethod
    def accepts(given: dict[str, Any]) -> bool:
        (embed,) = given["embeds"]
        texts = [
            embed["title"],
            embed["description"],
            *(text for f in embed["fields"] for text in (f["name"], f["value"])),
        ]
        return (
            1 <= len(embed["title"]) <= 256
            and len(embed["description"]) <= 4_096
            and len(embed["fields"]) <= 25
            and all(1 <= len(f["name"]) <= 256 and 1 <= len(f["value"]) <= 1_024 for f in embed["fields"])
            and sum(map(len, texts)) <= 6_000
        )


LONG = "&<>`" * 5_000
WORST = {"headline": LONG, "stack": (LONG,), "figures": ((LONG, LONG),) * 20, "links": (("x", f"https://{LONG}"),)}
LEAST: dict[str, Any] = {"stack": (), "url": "", "dashboard_url": "", "figures": (("a", ""),)}


@pytest.mark.parametrize("given", [{}, WORST, LEAST, {"step": "end"}])
def test_discord_takes_what_it_is_sent(hook: Hook, given: dict[str, Any]) -> None:
    hook.strict, hook.statuses = False, [204]

    channel(type="discord", url=hook.url).send(changed(**given), "7")
    channel(type="discord", url=hook.url).send(changed(**given), "8")

    (posted,) = hook.bodies()
    assert DiscordServer.accepts(posted)
    assert posted["allowed_mentions"] == {"parse": []}


def test_discord_shows_what_matters(hook: Hook) -> None:
    hook.strict = False

    channel(type="discord", url=hook.url).send(MESSAGE, "7")

    ((embed,),) = [posted["embeds"] for posted in hook.bodies()]
    assert embed["title"] == "Alert: New issue: ValueError: <b> & co"
    assert embed["url"] == MESSAGE.url
    assert embed["description"].startswith("```shop/views.py:42 in buy")
    assert f"[Details]({MESSAGE.url})" in embed["description"]
    assert {"name": "Measured", "value": "events: 1", "inline": True} in embed["fields"]


@pytest.mark.parametrize("given", [{}, WORST, LEAST, {"step": "end"}])
def test_teams_takes_what_it_is_sent(hook: Hook, given: dict[str, Any]) -> None:
    hook.strict = False

    channel(type="teams", url=hook.url).send(changed(**given), "7")

    ((_, body),) = hook.posts
    (attachment,) = hook.bodies()[0]["attachments"]
    assert len(body) <= 28_000
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert attachment["content"]["type"] == "AdaptiveCard"
    assert len(attachment["content"]["actions"]) <= 6


def test_teams_shows_what_matters(hook: Hook) -> None:
    hook.strict = False

    channel(type="teams", url=hook.url).send(MESSAGE, "7")

    card = hook.bodies()[0]["attachments"][0]["content"]
    assert card["body"][0]["text"] == "Alert: New issue: ValueError: <b> & co"
    assert {"title": "Measured", "value": "events: 1"} in card["body"][1]["facts"]
    assert card["actions"][0] == {"type": "Action.OpenUrl", "title": "Details", "url": MESSAGE.url}


@pytest.mark.parametrize("kind", ["discord", "teams"])
def test_one_that_asks_to_wait_is_waited_for(hook: Hook, kind: str) -> None:
    hook.statuses = [429]

    refused = failure(channel(type=kind, url=hook.url))

    assert (refused.reason, refused.retry_after) == ("HTTP 429", 120.0)


# -- webhooks -------------------------------------------------------------------------------------------------------------


def test_a_webhook_gets_the_message_signed(hook: Hook) -> None:
    hook.strict = False

    channel(type="webhook", url=hook.url, secret=SECRET).send(MESSAGE, "7")

    ((headers, body),) = hook.posts
    signed = hmac.new(SECRET.encode(), f"{headers['X-Monitoring-Timestamp']}.".encode() + body, "sha256").hexdigest()
    assert headers["X-Monitoring-Signature"] == f"sha256={signed}"
    assert headers["X-Monitoring-Delivery"] == "7"
    assert headers["Content-Type"] == "application/json"
    assert from_json(body.decode()) == MESSAGE


@pytest.mark.parametrize(("status", "reason"), [(500, "HTTP 500"), (429, "HTTP 429"), (302, "HTTP 302")])
def test_a_webhook_that_does_not_take_it_is_told(hook: Hook, status: int, reason: str) -> None:
    hook.statuses = [status]

    refused = failure(channel(type="webhook", url=hook.url, secret=SECRET))

    assert (refused.reason, refused.retry_after) == (reason, 120.0 if status == 429 else 0.0)
    assert hook.posts == []


@pytest.mark.parametrize("options", [{"type": "webhook", "secret": SECRET}, {"type": "slack"}])
def test_a_server_that_hangs_is_left(hook: Hook, monkeypatch: pytest.MonkeyPatch, options: dict[str, str]) -> None:
    monkeypatch.setattr(posting, "TIMEOUT_SECONDS", 1.0)
    hook.statuses = [HANG]

    assert failure(channel(url=hook.url, **options)).reason == "TimeoutError"


@pytest.mark.parametrize("options", [{"type": "webhook", "secret": SECRET}, {"type": "slack"}])
def test_a_server_that_is_not_there_is_told(options: dict[str, str]) -> None:
    assert failure(channel(url="http://127.0.0.1:1/hook", **options)).reason == "ConnectionRefusedError"


# -- secrets --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["slack", "webhook"])
def test_no_failure_shows_an_address_or_a_secret(hook: Hook, kind: str) -> None:
    hook.statuses = [500]
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    levels = {name: logging.getLogger(name).level for name in ("", "urllib3")}
    for name in levels:
        logging.getLogger(name).setLevel(logging.DEBUG)
    logging.getLogger().addHandler(handler)
    one = channel(type=kind, url=hook.url, **({"secret": SECRET} if kind == "webhook" else {}))

    refused = failure(one)
    nowhere = failure(
        channel(
            type=kind, url="http://127.0.0.1:1/secret-of-the-hook", **({"secret": SECRET} if kind == "webhook" else {})
        )
    )

    logging.getLogger().removeHandler(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    told = [repr(one), str(one), log.getvalue(), *map(repr, (refused, nowhere))]
    told += ["".join(traceback.format_exception(error)) for error in (refused, nowhere)]
    assert all("secret-of-the-hook" not in text and SECRET not in text for text in told)
    assert hook.url not in str(sys.exc_info())


def test_no_sentence_of_the_check_or_the_health_view_shows_one(monitoring: Any, a_sqlite: str) -> None:
    monitoring(
        DASHBOARD_DATABASE=a_sqlite,
        ALERT_CHANNELS={
            "a": {"type": "slack", "url": "ftp://host/secret-of-the-hook"},
            "b": {"type": "webhook", "url": "https://[/secret-of-the-hook", "secret": SECRET},
            "c": {"type": "webhook", "url": 7, "secret": SECRET},
        },
    )

    found = [f"{problem.message} {problem.hint}" for problem in channels.problems()]

    assert len(found) == 3
    assert all("secret-of-the-hook" not in text and SECRET not in text for text in found)
    assert "secret" not in str(check_monitoring_health())


# -- the setting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "complaint", "hint"),
    [
        ("team@example.org", "is of type str", "Write a dict"),
        ({}, "has no type", "Use one of email, slack, discord, teams, webhook."),
        ({"type": "mail"}, "has a type that is 'mail', which is unknown", "Did you mean 'email'?"),
        ({"type": 7}, "has a type that is 7, which is unknown", "Use one of"),
        ({"type": "email", "too": []}, "has an option 'too', which email does not have", "Did you mean 'to'?"),
        ({"type": "email"}, "has no addresses", "or set ADMINS"),
        ({"type": "email", "to": []}, "['to'] is not a list of addresses", "or set ADMINS"),
        (
            {"type": "email", "to": "team@example.org"},
            "['to'] is not a list of addresses",
            '"to": ["team@example.org"]',
        ),
        ({"type": "email", "to": ["team"]}, "has an item that is not an address", '"to": ["team@example.org"]'),
        ({"type": "email", "to": [7]}, "has an item that is not an address", '"to": ["team@example.org"]'),
        ({"type": "slack"}, "has no url", "https://hooks.slack.com/services/..."),
        ({"type": "slack", "url": " "}, "['url'] is empty", "https://hooks.slack.com/services/..."),
        ({"type": "slack", "url": "hooks.slack.com"}, "is not an http or https URL", "https://hooks"),
        ({"type": "webhook", "url": "https://a/"}, "has no secret", "Write 'secret': "),
        ({"type": "webhook", "url": "https://a:b/", "secret": "s"}, "does not parse", "https://pager"),
    ],
)
def test_a_channel_that_cannot_be_used_is_left_out_and_says_why(given: Any, complaint: str, hint: str) -> None:
    found, (problem,) = parse({"it": given})

    assert (found, problem.id) == ((), channels.BAD_CHANNEL)
    assert "CRM_MONITORING['ALERT_CHANNELS']['it']" in problem.message
    assert complaint in problem.message
    assert hint in problem.hint


def test_a_channel_needs_a_name() -> None:
    assert "has no usable name" in parse({"": {"type": "slack"}})[1][0].message


class Phone(Channel):
    """A channel of a project's own."""

    number: str = key(REQUIRED, parsing.filled("Write a number."), "the number to call.", secret=True)

    def send(self, message: Message, delivery: str) -> None:
        if self.number == "0":
            raise RuntimeError("hunter2")


def test_a_channel_of_your_own_is_named_by_its_dotted_path() -> None:
    phone = channel(type=f"{__name__}.Phone", number="0123")

    assert isinstance(phone, Phone)
    assert (phone.name, phone.number) == ("it", "0123")
    assert "0123" not in repr(phone)
    channels.send(phone, MESSAGE, "7")


def test_whatever_a_channel_of_your_own_raises_is_a_message_that_is_not_sent() -> None:
    refused = failure(channel(type=f"{__name__}.Phone", number="0"))

    assert refused.reason == "RuntimeError"


@pytest.mark.parametrize(
    ("given", "complaint", "hint"),
    [
        ({"number": 7}, "['number'] is of type int; it must be text", "Write it in quotes."),
        ({}, "has no number", "Write 'number': the number to call."),
        ({"nummer": "7"}, "has an option 'nummer', which phone does not have", "Did you mean 'number'?"),
    ],
)
def test_the_options_of_a_channel_of_your_own_are_checked(given: Any, complaint: str, hint: str) -> None:
    _, (problem,) = parse({"it": {"type": f"{__name__}.Phone", **given}})

    assert complaint in problem.message
    assert problem.hint == hint


# -- proxies --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    """A proxy that the environment names, which answers for everybody."""
    with a_hook() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.replace("http://", "http://user:pass%20word@"))
        monkeypatch.delenv("no_proxy", raising=False)
        yield proxy


def test_the_proxy_of_the_environment_is_used(proxy: Hook) -> None:
    channel(type="webhook", url="http://pager.invalid/hook", secret=SECRET).send(MESSAGE, "7")

    ((headers, _),) = proxy.posts
    assert headers["Host"] == "pager.invalid"
    assert headers["proxy-authorization"] == f"Basic {b64encode(b'user:pass word').decode()}"


def test_whom_the_environment_excepts_is_asked_directly(
    proxy: Hook, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    hook.strict = False

    channel(type="webhook", url=hook.url, secret=SECRET).send(MESSAGE, "7")

    assert (len(proxy.posts), len(hook.posts)) == (0, 1)


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "127.0.0.1:1"])
def test_a_proxy_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("http_proxy", address)
    monkeypatch.delenv("no_proxy", raising=False)

    refused = failure(channel(type="webhook", url="http://pager.invalid/hook", secret=SECRET))

    assert refused.reason == "ConnectionRefusedError"


def test_an_address_that_no_library_can_read_is_told() -> None:
    assert failure(channel(type="webhook", url="http://a..b/", secret=SECRET)).reason


def test_the_text_leaves_out_what_there_is_not() -> None:
    assert as_text(changed(environment="", figures=(), stack=(), url="", dashboard_url="")) == (
        "Alert: New issue: ValueError: <b> & co\n\nSince: 2026-11-23 10:00:00 UTC\nRule: new_issue"
    )
    assert len(slack_blocks(MESSAGE)) == 4
