"""What is asked of the site, and how."""

from __future__ import annotations

from dataclasses import dataclass

RATES = (0.0, 0.1, 1.0)
INTERFACES = ("wsgi", "asgi-sync", "asgi-async")
SECRET = "hunter2hunter2"
"""Must not be found in anything that leaves."""

_LEAST_WARM, _MOST_WARM = 3, 30
_SLOWER_ASYNC = 2


@dataclass(frozen=True)
class Case:
    """
    One kind of request.

    Attributes:
        requests: How many give a steady mean.
        logged_in: Whether it brings the cookie of a user's session.
    """

    name: str
    title: str
    path: str
    requests: int
    logged_in: bool = False
    status: int = 200

    def url(self, interface: str) -> str:
        """Return the path for an interface: of the async view, or of the sync one."""
        return f"/async{self.path}" if interface == "asgi-async" else self.path

    def number(self, interface: str) -> int:
        """Return how many requests give a steady mean: fewer by ASGI, where each takes many times as long."""
        return self.requests if interface == "wsgi" else max(1, self.requests // _SLOWER_ASYNC)

    def warm(self, interface: str) -> int:
        """Return how many requests come before the first that counts."""
        return min(max(_LEAST_WARM, self.number(interface)), _MOST_WARM)


def _by_name(*cases: Case) -> dict[str, Case]:
    return {case.name: case for case in cases}


CASES = _by_name(
    Case("trivial", "trivial JSON view", "/trivial/", 20),
    Case("user", "trivial view, logged-in user it ignores", "/trivial/", 20, logged_in=True),
    Case("work", "5 queries + 3 lines + 1 monitor", "/work/", 10),
    Case("raising", "a view that raises", "/raising/", 8, status=500),
    Case("page", "a page of 200 queries", "/queries/200/", 1),
)
"""What is measured in every way."""

QUICK = ("trivial", "work", "raising")


def _enough(number: int) -> int:
    """Return how many requests of so many things give a steady mean: small ones differ by more than one thing costs."""
    return max(1, min(20, 1000 // max(number, 1)))


GROWING = {"log lines": (0, 3, 30), "queries": (10, 100, 1000), "breadcrumbs": (0, 10, 100)}
"""How much of what a request holds."""

_GROWING_PATHS = {"log lines": "logs", "queries": "queries", "breadcrumbs": "breadcrumbs"}

GROWTH = _by_name(
    *(
        Case(f"{number} {what}", f"a request of {number} {what}", f"/{_GROWING_PATHS[what]}/{number}/", _enough(number))
        for what, numbers in GROWING.items()
        for number in numbers
    )
)

LINE = "log a line of 3 fields"
LINE_BELOW_LEVEL = "log a line below the level"
"""Operations that have a budget."""

INSIDE = Case("inside", "single operations inside a request", "/inside/", 1)
EVERYTHING = Case("everything", "a logged-in request that uses all there is", "/everything/", 1, True, 500)

ALL = {**CASES, **GROWTH, **_by_name(INSIDE, EVERYTHING)}
