"""Who a user is to the dashboard: the same one again, and nobody in particular."""

from __future__ import annotations

from django.utils.crypto import salted_hmac

from crm_monitoring.dashboard.models import HASH_LENGTH

_SALT = "crm_monitoring.dashboard"


def hashed(user_id: str) -> str:
    """Return the hash of a user's id, keyed with SECRET_KEY: 32 hexadecimal digits."""
    return salted_hmac(_SALT, user_id, algorithm="sha256").hexdigest()[:HASH_LENGTH]
