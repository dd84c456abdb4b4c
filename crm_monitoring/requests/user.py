"""The user of a request, as far as it is known without asking: no query, no session access."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils.functional import LazyObject

if TYPE_CHECKING:
    from django.http import HttpRequest


def evaluated_user(request: HttpRequest) -> Any | None:
    """
    Return the request's user if that costs nothing: no query, no session access.

    `request.user` is lazy, and reading it makes two queries. Where it was read before, django.contrib.auth keeps the
    result on the request. These names are Django's private ones: without them the user would be unknown, nothing worse.
    """
    attributes = vars(request)
    user = attributes.get("user")
    if user is None or isinstance(user, LazyObject):
        user = attributes.get("_cached_user") or attributes.get("_acached_user")
    return user


def evaluated_user_id(request: HttpRequest) -> str | None:
    """Return the primary key of `evaluated_user` as text, None for nobody and for anonymous users."""
    user = evaluated_user(request)
    if user is None or not getattr(user, "is_authenticated", False):
        return None
    pk = getattr(user, "pk", None)
    return None if pk is None else str(pk)
