"""Alerts by e-mail."""

from __future__ import annotations

from email.utils import parseaddr
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMultiAlternatives
from django.core.validators import validate_email
from django.template.loader import render_to_string
from django.utils import translation
from django.utils.translation import gettext as _

from crm_monitoring.conf import BAD_CHOICE, Unusable, key
from crm_monitoring.dashboard.alerts.channels.channel import Channel

if TYPE_CHECKING:
    from crm_monitoring.dashboard.alerts.messages import Message

_HINT = 'Write "to": ["team@example.org"], or set ADMINS.'


def _addresses(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise Unusable(BAD_CHOICE, "is not a list of addresses", _HINT)
    if not all(map(_is_address, value)):
        raise Unusable(BAD_CHOICE, "has an item that is not an address", _HINT)
    return tuple(value)


class Email(Channel):
    """By Django's mail, whatever its back end; EMAIL_TIMEOUT bounds one that hangs."""

    to: tuple[str, ...] = key((), _addresses, "Addresses. Default: ADMINS.", secret=True)

    def __init__(self, name: str, **options: Any) -> None:
        if not options.get("to"):
            options["to"] = _admins()
        super().__init__(name, **options)

    def send(self, message: Message, delivery: str) -> None:
        """Send one e-mail to all, text and HTML; those of one rule and subject make a thread."""
        # Imported here and below, for `manage.py check` parses channels and makes no message.
        from crm_monitoring.dashboard.alerts.messages import all_links, as_text, facts

        mail = EmailMultiAlternatives(
            subject=_subject(message),
            body=f"{as_text(message)}\n\n-- \n{self._leaving()}\n",
            from_email=settings.SERVER_EMAIL,
            to=list(self.to),
            headers=_headers(message, delivery),
        )
        context = {"message": message, "facts": facts(message), "links": all_links(message), "leaving": self._leaving()}
        mail.attach_alternative(render_to_string("crm_monitoring/dashboard/alert_mail.html", context), "text/html")
        mail.send()

    def _leaving(self) -> str:
        with translation.override(settings.LANGUAGE_CODE):
            return _(
                "You are receiving this because your address is in the channel “%(channel)s” of CRM_MONITORING['ALERT_CHANNELS'], or in "
                "ADMINS. To stop, reply to this message and ask to be removed."
            ) % {"channel": self.name}


def _admins() -> tuple[str, ...]:
    admins = [admin if isinstance(admin, str) else admin[1] for admin in settings.ADMINS]
    if not admins:
        raise Unusable(BAD_CHOICE, "has no addresses", _HINT)
    return _addresses(admins)


def _is_address(value: Any) -> bool:
    try:
        validate_email(parseaddr(value)[1] if isinstance(value, str) else "")
    except ValidationError:
        return False
    return True


def _subject(message: Message) -> str:
    where = f"[{message.environment}] " if message.environment else ""
    answers = "" if message.step == "start" else "Re: "
    return " ".join(f"{answers}{where}{message.headline}".split())[:200]


def _headers(message: Message, delivery: str) -> dict[str, str]:
    sender = parseaddr(settings.SERVER_EMAIL)[1]
    domain = sender.rpartition("@")[2] or "localhost"
    thread = f"<{message.thread}@{domain}>"
    return {
        "Message-ID": f"<{message.thread}.{delivery}@{domain}>",
        "In-Reply-To": thread,
        "References": thread,
        "Auto-Submitted": "auto-generated",
        "List-Unsubscribe": f"<mailto:{sender}?subject=unsubscribe>",
    }
