"""The site that is measured: the same views for every stack, sync and async."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from tests.benchmarks.cases import SECRET
from tests.benchmarks.settings import STACK

tools = STACK.load().tools()


class OrderFailed(Exception):
    """What the raising view raises."""


def trivial(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"status": "ok"})


def work(request: HttpRequest) -> HttpResponse:
    with tools.monitor("order_placed"):
        tools.info("order_started", order=1, customer="acme", total=9.5)
        count = Group.objects.count()
        group = Group.objects.get(pk=1)
        tools.info("group_read", order=1, group=group.pk, count=count)
        names = list(Group.objects.filter(name__startswith="group").values_list("name", flat=True)[:10])
        is_known = Group.objects.filter(name="group 3").exists()
        last = Group.objects.order_by("-pk").first()
        tools.info("order_placed", order=1, known=is_known, items=len(names))
    return JsonResponse({"count": count, "names": names, "last": last.pk if last else None})


def raising(request: HttpRequest) -> HttpResponse:
    return _fail({"order": 7, "lines": [1, 2, 3]})


def _fail(order: dict[str, Any]) -> HttpResponse:
    customer = "acme"
    raise OrderFailed(f"No stock for {customer}")


def queries(request: HttpRequest, number: int) -> HttpResponse:
    return JsonResponse({"sum": sum(Group.objects.get(pk=index % 20 + 1).pk for index in range(number))})


def logs(request: HttpRequest, number: int) -> HttpResponse:
    for index in range(number):
        tools.info("line_written", index=index, customer="acme", total=9.5)
    return JsonResponse({"lines": number})


def quiet(request: HttpRequest, number: int) -> HttpResponse:
    for index in range(number):
        tools.debug("line_left_out", index=index, customer="acme", total=9.5)
    return JsonResponse({"lines": 0})


def monitors(request: HttpRequest, number: int) -> HttpResponse:
    for _ in range(number):
        with tools.monitor("part_measured"):
            pass
    return JsonResponse({"monitors": number})


def breadcrumbs(request: HttpRequest, number: int) -> HttpResponse:
    for _ in range(number):
        tools.breadcrumb("something happened")
    return JsonResponse({"breadcrumbs": number})


def inside(request: HttpRequest) -> HttpResponse:
    """Run what has been put here, in the middle of a request."""
    part()
    return JsonResponse({"status": "ok"})


def part() -> None:
    """Do nothing, until something else stands in place of this."""


def everything(request: HttpRequest) -> HttpResponse:
    """Use all there is, secrets among it, then fail."""
    with tools.monitor("order_placed"):
        group = Group.objects.get(pk=1)
        tools.info("order_started", user=request.user.get_username(), group=group.pk, password=SECRET)
        tools.breadcrumb(f"paying with Bearer {SECRET}")
        return _fail({"password": SECRET, "order": 7})


async def atrivial(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"status": "ok"})


async def awork(request: HttpRequest) -> HttpResponse:
    with tools.monitor("order_placed"):
        tools.info("order_started", order=1, customer="acme", total=9.5)
        count = await Group.objects.acount()
        group = await Group.objects.aget(pk=1)
        tools.info("group_read", order=1, group=group.pk, count=count)
        rows = Group.objects.filter(name__startswith="group").values_list("name", flat=True)[:10]
        names = [name async for name in rows]
        is_known = await Group.objects.filter(name="group 3").aexists()
        last = await Group.objects.order_by("-pk").afirst()
        tools.info("order_placed", order=1, known=is_known, items=len(names))
    return JsonResponse({"count": count, "names": names, "last": last.pk if last else None})


async def araising(request: HttpRequest) -> HttpResponse:
    return _fail({"order": 7, "lines": [1, 2, 3]})


async def aqueries(request: HttpRequest, number: int) -> HttpResponse:
    return JsonResponse({"sum": sum([(await Group.objects.aget(pk=index % 20 + 1)).pk for index in range(number)])})


urlpatterns = [
    path("trivial/", trivial),
    path("work/", work),
    path("raising/", raising),
    path("queries/<int:number>/", queries),
    path("logs/<int:number>/", logs),
    path("quiet/<int:number>/", quiet),
    path("monitors/<int:number>/", monitors),
    path("breadcrumbs/<int:number>/", breadcrumbs),
    path("inside/", inside),
    path("everything/", everything),
    path("async/trivial/", atrivial),
    path("async/work/", awork),
    path("async/raising/", araising),
    path("async/everything/", everything),
    path("async/queries/<int:number>/", aqueries),
    *tools.urls,
]
