"""The user of a request, as far as it is known without asking: no query, no session access."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils.crypto import salted_hmac
from django.utils.functional import LazyObject

from crm_monitoring import faults
from crm_monitoring.lazy import pattern
from crm_monitoring.scrubbing import EMAIL

if TYPE_CHECKING:
    from django.http import HttpRequest

_PHONE = pattern(r"\+?\d(?:[ .()/-]{0,2}\d){8,14}")


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


@faults.guarded
def evaluated_user_id(request: HttpRequest, /) -> str | None:
    """
    Return the primary key of `evaluated_user` as text, None for nobody and for anonymous users.

    A key that tells of a person, an e-mail address or a phone number, becomes a hash keyed with SECRET_KEY: 32 hexadecimal digits.
    """
    return user_id_of(evaluated_user(request))


def user_id_of(user: Any | None) -> str | None:
    """Return the primary key of a user who has logged in as text, as `evaluated_user_id` does."""
    if user is None or not getattr(user, "is_authenticated", False):
        return None
    pk = getattr(user, "pk", None)
    return None if pk is None else _without_person(pk)


def _without_person(pk: Any) -> str:
    text = str(pk)
    # A number counted up by the database is nobody's phone number.
    if isinstance(pk, int) or not (EMAIL.pattern.search(text) or _PHONE.fullmatch(text)):
        return text
    return hashed(text)


def hashed(text: str) -> str:
    """Return a hash of `text` that only this project can make: 32 hexadecimal digits, the same for the same text."""
    return salted_hmac("crm_monitoring.user", text, algorithm="sha256").hexdigest()[:32]
