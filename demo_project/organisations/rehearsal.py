"""Requests of every kind that the demo sends to itself, over real HTTP, so that there is something to see."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from http.cookies import SimpleCookie
from itertools import count
from urllib.parse import quote, urlencode

from .models import Organisation
from .seed import CITIES, COLLEAGUES, NAMES, PASSWORD, USERNAME

PREFIX = "Rehearsal"
USERNAMES = (USERNAME, *COLLEAGUES)

GOOD_CSV = "name,category,city\n{prefix} import {number},CGP,Lyon\n{prefix} import {number},CGP,Lyon\n,Nobody,Nice\n"
BAD_CSV = "nom;ville\nCabinet Alvérane;Lyon\n"


class Visitor:
    """A very small browser: it keeps its cookies and sends the CSRF token."""

    def __init__(self, port: int) -> None:
        self.connection = HTTPConnection("127.0.0.1", port, timeout=30)
        self.cookies: SimpleCookie = SimpleCookie()

    def get(self, path: str) -> int:
        return self.send("GET", path)

    def post(self, path: str, body: str, content_type: str = "application/x-www-form-urlencoded") -> int:
        return self.send("POST", path, body.encode(), {"Content-Type": content_type, "X-CSRFToken": self.csrf_token()})

    def post_json(self, path: str, data: object) -> int:
        return self.post(path, json.dumps(data), "application/json")

    def post_file(self, path: str, content: str) -> int:
        part = 'Content-Disposition: form-data; name="file"; filename="organisations.csv"\r\nContent-Type: text/csv'
        body = f"--limit\r\n{part}\r\n\r\n{content}\r\n--limit--\r\n"
        return self.post(path, body, "multipart/form-data; boundary=limit")

    def log_in(self, username: str) -> None:
        self.get("/login/")
        self.post("/login/", urlencode({"username": username, "password": PASSWORD}))

    def close(self) -> None:
        self.connection.close()

    def csrf_token(self) -> str:
        return self.cookies["csrftoken"].value if "csrftoken" in self.cookies else ""

    def send(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> int:
        cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in self.cookies.items())
        self.connection.request(method, path, body, {"Cookie": cookies} | (headers or {}))
        response = self.connection.getresponse()
        for cookie in response.headers.get_all("Set-Cookie", []):
            self.cookies.load(cookie)
        response.read()
        return response.status


Step = Callable[[Visitor, int], int]


def get(path: str) -> Step:
    def step(visitor: Visitor, number: int) -> int:
        word = quote((*CITIES, *NAMES)[number % (len(CITIES) + len(NAMES))])
        return visitor.get(path.format(page=number % 10 + 1, word=word))

    return step


def one_of(path: str) -> Step:
    def step(visitor: Visitor, number: int) -> int:
        keys = Organisation.objects.values_list("pk", flat=True)
        return visitor.get(path.format(pk=keys[number % len(keys)]))

    return step


def create(visitor: Visitor, number: int) -> int:
    data = {"name": f"{PREFIX} {number}", "category": "CGP", "city": CITIES[number % len(CITIES)]}
    return visitor.post_json("/api/v1/organisations", data)


def create_wrongly(visitor: Visitor, number: int) -> int:
    return visitor.post_json("/api/v1/organisations", {"name": "", "category": "Nobody"})


def send_malformed_json(visitor: Visitor, number: int) -> int:
    return visitor.post("/api/v1/organisations", '{"name": ', "application/json")


def import_good_file(visitor: Visitor, number: int) -> int:
    return visitor.post_file("/api/v1/organisations/import", GOOD_CSV.format(prefix=PREFIX, number=number))


def import_bad_file(visitor: Visitor, number: int) -> int:
    return visitor.post_file("/organisations/import/", BAD_CSV)


def ask_who_i_am_without_login(visitor: Visitor, number: int) -> int:
    with closing(Visitor(visitor.connection.port)) as stranger:
        return stranger.get("/api/v1/me")


def send_test_events(visitor: Visitor, number: int) -> int:
    return visitor.post("/test-sentry", "")


USUAL: tuple[Step, ...] = (
    get("/"),
    get("/organisations/?page={page}"),
    get("/organisations/?q={word}"),
    one_of("/organisations/{pk}/"),
    get("/api/v1/organisations?page={page}"),
    get("/api/v1/organisations?q={word}"),
    one_of("/api/v1/organisations/{pk}"),
    get("/api/v1/organisations/async?page={page}"),
    get("/api/v1/me"),
    get("/health/live"),
    get("/health/ready"),
)
UNUSUAL: tuple[Step, ...] = (
    get("/api/v1/kpis"),
    create,
    get("/break/error/"),
    get("/api/v1/organisations/999999"),
    import_good_file,
    get("/break/slow/"),
    get("/break/missing/"),
    get("/api/v1/broken"),
    create_wrongly,
    get("/api/v1/organisations/export"),
    get("/break/handled/"),
    get("/kpis/"),
    send_malformed_json,
    get("/break/stream/"),
    import_bad_file,
    send_test_events,
    get("/break/message/"),
    ask_who_i_am_without_login,
    get("/health/monitoring"),
    get("/no-such-page/"),
)


def clean_up() -> None:
    """Remove what an earlier rehearsal created, so that each start finds the same organisations."""
    Organisation.objects.filter(name__startswith=PREFIX).delete()


def rehearse(port: int) -> Generator[int]:
    """Send requests without end, every fourth one out of the usual, by several users in turn, and yield each one's status."""
    with ExitStack() as open_visitors:
        visitors = [open_visitors.enter_context(closing(Visitor(port))) for _ in USERNAMES]
        for visitor, username in zip(visitors, USERNAMES, strict=True):
            visitor.log_in(username)
        for number in count():
            turn, place = divmod(number, 4)
            step = UNUSUAL[turn % len(UNUSUAL)] if place == 3 else USUAL[(number - turn) % len(USUAL)]
            yield step(visitors[number % len(visitors)], number)
