"""Filters that write figures and moments for people."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django import template
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from django.utils.translation import gettext

from crm_monitoring.dashboard.pages import formatting

register = template.Library()

register.filter("count", formatting.count)
register.filter("milliseconds", formatting.milliseconds)
register.filter("percent", formatting.percent)
register.filter("score", formatting.score)
register.filter("release", formatting.release)


# Django's `expects_localtime` would convert with USE_TZ only.
@register.filter
def moment(value: datetime) -> SafeString:
    """Return a `time` element with date and time in the current time zone."""
    return _time(value, date_format(timezone.localtime(value), "SHORT_DATETIME_FORMAT"))


@register.filter
def clock(value: datetime) -> SafeString:
    """Return a `time` element with hours, minutes and seconds in the current time zone."""
    return _time(value, date_format(timezone.localtime(value), "H:i:s"))


@register.filter
def hour(value: datetime) -> str:
    """Return the hour a stretch of time begins with, in the current time zone: "14:00"."""
    return date_format(timezone.localtime(value), "H:i")


@register.filter
def tick(value: datetime) -> SafeString:
    """Return a `time` element with hours, minutes, seconds and milliseconds in the current time zone."""
    local = timezone.localtime(value)
    return _time(value, f"{local:%H:%M:%S}.{local.microsecond // 1000:03}")


@register.filter
def exactly(value: datetime) -> SafeString:
    """Return a `time` element with date and time to the millisecond in the current time zone."""
    local = timezone.localtime(value)
    return _time(value, f"{date_format(local, 'Y-m-d H:i:s')}.{local.microsecond // 1000:03}")


@register.filter
def age(value: datetime) -> SafeString:
    """Return a `time` element that says how long ago it was."""
    if datetime.now(UTC) - value < timedelta(minutes=1):
        return _time(value, gettext("just now"))
    return _time(value, gettext("%(time)s ago") % {"time": timesince(value, depth=1)})


def _time(value: datetime, text: str) -> SafeString:
    moment = value.astimezone(UTC).isoformat(timespec="seconds")
    return format_html('<time datetime="{}">{}</time>', moment, text)
