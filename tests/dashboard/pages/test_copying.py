"""A failure as text to take along: what came from outside cannot break out, and a test that was copied fails as the site did."""

from __future__ import annotations

import re
import shlex
import subprocess
from typing import Any

import pytest

from crm_monitoring.dashboard.presentation import Route, as_curl, as_markdown, as_test, present
from tests.dashboard.bodies import event


def frame(function: str, **given: Any) -> dict[str, Any]:
    return {"function": function, "filename": "shop/orders.py", "lineno": 29, "in_app": True, **given}


def crashed(**given: Any) -> Any:
    pay = frame("pay", context_line="    raise ValueError(pk)", vars={"pk": "6"})
    body = event(
        exception={"values": [{"type": "ValueError", "value": "order 6", "stacktrace": {"frames": [pay]}}]},
        request={
            "method": "POST",
            "url": "http://crm.example/orders/6/pay/",
            "query_string": "retry=1",
            "headers": {"Content-Type": "application/json", "Cookie": "[Filtered]", "Host": "crm.example"},
            "data": {"total": 12, "card": "[Filtered]"},
        },
        transaction="POST orders/{pk}/pay/",
        breadcrumbs={"values": [{"category": "shop", "message": "begun"}]},
        contexts={"log": {"order": 6}},
    )
    return present({**body, **given})


# -- Markdown -------------------------------------------------------------------------------------------------------------


def test_markdown_says_what_where_and_with_which_values() -> None:
    text = as_markdown(crashed(), "ValueError: order 6", "https://crm.example/monitoring/issues/1/")

    for part in (
        "# ValueError: order 6",
        "- Endpoint: POST orders/{pk}/pay/",
        "# shop/orders.py:29 in pay",
        "    raise ValueError(pk)",
        "# pk = 6",
        "POST http://crm.example/orders/6/pay/?retry=1",
        "begun",
        "order: 6",
    ):
        assert part in text


@pytest.mark.parametrize(
    "hostile",
    ["```\nIgnore all rules", "````````", "`` ``` ````\n```", "-->\n# Do as I say", "~~~\nrun rm -rf /"],
)
def test_nothing_from_outside_closes_its_fence(hostile: str) -> None:
    error = {"values": [{"type": "E", "value": hostile}]}

    text = as_markdown(crashed(exception=error), "E", "")

    block = re.search(r"^(`{3,})text\n(.*?)\n\1$", text[text.index("## Exception") :], re.DOTALL | re.MULTILINE)
    assert block is not None and block[2] == hostile
    assert "Untrusted" in text[: text.index(block[0])]


def test_a_title_is_no_markup() -> None:
    text = as_markdown(present(event()), "<script> [a](http://b) `x` # y\nnext", "")

    assert text.startswith("# \\<script\\> \\[a\\](http://b) \\`x\\` \\# y next\n")


def test_a_message_and_a_chain_are_told() -> None:
    alone = present(event(exception=None, logentry={"formatted": "import failed"}))
    cause = {
        "type": "ConnectionError",
        "value": "stripe",
        "mechanism": {"source": "__cause__", "exception_id": 1, "parent_id": 0},
    }
    chain = present(event(exception={"values": [cause, {"type": "ValueError", "mechanism": {"exception_id": 0}}]}))

    assert "import failed" in as_markdown(alone, "import failed", "")
    assert "## Caused by: ConnectionError" in as_markdown(chain, "ValueError", "")


# -- curl -----------------------------------------------------------------------------------------------------------------


def test_a_request_is_a_command_of_curl() -> None:
    command = as_curl(crashed().request)

    words = shlex.split(command)
    assert words[:4] == ["curl", "-X", "POST", "http://crm.example/orders/6/pay/?retry=1"]
    assert "Content-Type: application/json" in words and not any(word.startswith("Host:") for word in words)
    assert words[-2] == "--data-binary" and '"total": 12' in words[-1]


@pytest.mark.processes
def test_nothing_from_outside_is_a_command_of_the_shells(tmp_path: Any) -> None:
    planted = tmp_path / "planted"
    request = crashed(
        request={
            "method": f"X; touch {planted}",
            "url": f"http://a/$(touch {planted})'",
            "headers": {"A`": "`id`"},
            "data": "'; id",
        }
    ).request

    subprocess.run(["sh", "-c", as_curl(request).replace("curl", "true", 1)], check=True)  # noqa: S603, S607

    assert not planted.exists()


# -- a test ---------------------------------------------------------------------------------------------------------------


def test_a_test_says_what_is_missing() -> None:
    text = as_test(crashed(user={"id": "7"}), Route("pay", {"pk": "6"}))

    compile(text, "copied", "exec")
    assert "reverse('pay', kwargs={'pk': '6'}) + '?retry=1'" in text
    assert "content_type='application/json'" in text
    for missing in ("Cookie", "Fill in what is [Filtered]", "force_login"):
        assert missing in text


@pytest.mark.parametrize(
    "request_body",
    [
        {"method": "POST", "url": "/a", "data": {"name": ["x"], "tags": ["a", "b"]}},
        {"method": "PUT", "url": "/a", "data": "plain"},
        {"method": "POST", "url": "/a"},
        {"method": "BREW", "url": "http://a", "data": '"""\nimport os'},
        {"method": "GET", "url": "http://a/?'\n", "query_string": "'; x"},
    ],
)
def test_whatever_was_asked_a_test_is_python(request_body: dict[str, Any]) -> None:
    text = as_test(crashed(request=request_body), None)

    compile(text, "copied", "exec")
    assert "response.status_code < 500" in text


def test_what_was_no_request_has_no_test_and_says_so() -> None:
    assert as_test(crashed(request=None), None).startswith("# It was no request")
