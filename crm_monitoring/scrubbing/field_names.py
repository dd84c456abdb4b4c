"""Which keys have secrets for values: the names, and how a key is read word by word."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum, auto
from functools import lru_cache

SENSITIVE_KEYS = (
    # Passwords
    "password", "passwd", "passwort", "pwd", "passphrase", "passcode", "user pass", "db pass", "smtp pass", "mail pass",
    "mot de passe", "mdp", "phrase de passe",
    # Codes that are passwords for a while
    "otp", "totp", "hotp", "mfa code", "2fa code", "two factor code", "pin", "sms code", "auth code", "authorization code",
    "verification code", "security code", "reset code", "activation code", "recovery code", "backup code", "magic link",
    "code confidentiel", "code de verification",
    # Tokens, keys, sessions
    "token", "jwt", "bearer", "secret", "secrete", "jeton", "authorization", "credential", "cookie", "sessionid", "sessid",
    "session key", "connect sid", "dsn", "connection string", "access key", "api key", "auth key", "encryption key",
    "license key", "master key", "private key", "signing key", "ssh key", "shared key", "consumer key", "cle api",
    "cle privee", "cle de chiffrement",
    # Payment
    "card number", "card no", "credit card", "debit card", "cc number", "ccnum", "cvv", "cvc", "card code", "iban", "rib",
    "account number", "bank account", "routing number", "numero carte", "numero de carte", "num carte", "carte bancaire",
    "carte bleue", "cryptogramme", "numero de compte", "num compte",
    # Numbers that states give to people
    "ssn", "social security", "national insurance", "national id", "passport number", "passport no", "driving licence",
    "driver license", "nir", "num secu", "numero secu", "no secu", "securite sociale", "numero fiscal",
    "numero de passeport", "numero passeport",
)  # fmt: skip
"""Words, or words in a row, that make a key sensitive anywhere in its name, whatever its case and separators."""

SENSITIVE_NAMES = (
    "auth", "csrf", "xsrf", "pass", "passport", "refresh", "salt", "session", "sid", "user session", "x auth",
)  # fmt: skip
"""What is sensitive only as the whole name: `refresh` is a token, `refresh_rate` is none."""

URL_NAMES = ("code", "hash", "hmac", "invitation", "key", "nonce", "sig", "signature", "ticket", "uidb64")
"""
What is sensitive, as the whole name, in a query string, and where the value looks like a credential in a request's body and among
the parameters of a route.
"""

_TELLS_ABOUT = frozenset((
    "accepted", "age", "algorithm", "at", "backend", "changed", "class", "count", "domain", "enabled", "engine", "expired",
    "expires", "expiry", "file", "format", "httponly", "in", "le", "length", "lifetime", "limit", "method", "modifie",
    "name", "on", "path", "policy", "required", "samesite", "secure", "status", "statut", "strength", "ttl", "type",
    "usage", "valid", "validator", "validators", "version",
))  # fmt: skip
_ASKS = frozenset(("can", "has", "is", "max", "min", "must", "nb", "needs", "requires", "should", "show", "total"))
_TOKENS_OF_A_MODEL = frozenset(("cached", "completion", "input", "output", "prompt", "reasoning"))
_TRACE_IDS = frozenset(("eventid", "parentspanid", "segmentid", "spanid", "traceid"))

_URLS = frozenset(("location", "path", "referer", "referrer", "uri", "url"))
_NOT_URLS = frozenset(("code", "file", "sys"))
_QUERIES = frozenset(("httpquery", "querystring", "urlquery"))
_SOURCES = frozenset(("contextline", "postcontext", "precontext"))

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD = re.compile(r"[^\W\d_]+")
_LETTERS_OF_A_SUFFIX = 5
_MAX_CACHED = 4096

MAX_CACHED_LETTERS = 128
"""Longer keys and texts are read anew each time, so that a cache stays small."""


class KeyMeaning(Enum):
    """What a key says of its value."""

    ORDINARY = auto()
    SENSITIVE = auto()
    TRACE_ID = auto()
    URL = auto()
    QUERY = auto()
    SOURCE = auto()


def words(key: str) -> list[str]:
    """Split a key into its lower-case words, without accents and digits: `X-ApiKey2` is x, api, key."""
    plain = key if key.isascii() else _without_accents(key)
    return [word.casefold() for word in _WORD.findall(_CAMEL.sub(" ", plain))]


def _without_accents(text: str) -> str:
    return "".join(sign for sign in unicodedata.normalize("NFKD", text) if not unicodedata.combining(sign))


def _joined(names: Iterable[str]) -> frozenset[str]:
    singular = {"".join(words(name)) for name in names} - {""}
    return frozenset(singular | {f"{name}s" for name in singular})


class Keys:
    """
    Tells sensitive keys from others.

    A name of one long word, such as "token", is found at the end of a longer word too (`accesstoken`, but not `tokenizer`).
    A key that only tells about a secret is not sensitive: `password_changed_at`, `has_token`, `secret_name`.

    Args:
        keys: Names, in words, of what is sensitive anywhere in a key.
        names: Names of what is sensitive as a whole key.
        url_names: Names of what is sensitive as a whole key in URLs and bodies.
        readable: Names of what is never sensitive by its name, whatever the others say.
    """

    def __init__(
        self,
        keys: Iterable[str],
        names: Iterable[str],
        url_names: Iterable[str] = URL_NAMES,
        readable: Iterable[str] = (),
    ) -> None:
        keys = tuple(keys)
        self._keys = _joined(keys)
        self._suffixes = tuple(key for key in self._keys if len(key) >= _LETTERS_OF_A_SUFFIX)
        self._longest = max((len(words(key)) for key in keys), default=0)
        self._names = _joined(names)
        self._readable = _joined(readable)
        self._url_names = _joined(url_names) - self._readable
        self._cached = lru_cache(_MAX_CACHED)(self._read)

    def kind(self, key: str) -> KeyMeaning:
        """Return what `key` says of its value."""
        return self._known(key)[0]

    def is_sensitive_in_url(self, key: str) -> bool:
        """Tell whether the values of `key` are secrets in a query string, or as a parameter of a route."""
        kind, is_url_name = self._known(key)
        return is_url_name or kind is KeyMeaning.SENSITIVE

    def _known(self, key: str) -> tuple[KeyMeaning, bool]:
        return self._cached(key) if len(key) <= MAX_CACHED_LETTERS else self._read(key)

    def _read(self, key: str) -> tuple[KeyMeaning, bool]:
        parts = words(key)
        name = "".join(parts)
        if name in _TRACE_IDS:
            return KeyMeaning.TRACE_ID, False
        kind = KeyMeaning.SENSITIVE if self._names_secret(parts, name) else _harmless(parts, name)
        return kind, name in self._url_names

    def _names_secret(self, parts: Sequence[str], name: str) -> bool:
        return not (name in self._readable or _tells_about(parts)) and (
            name in self._names
            or any(len(part) > _LETTERS_OF_A_SUFFIX and part.endswith(self._suffixes) for part in parts)
            or any(run in self._keys for run in self._runs(parts))
        )

    def _runs(self, parts: Sequence[str]) -> Iterator[str]:
        for length in range(1, self._longest + 1):
            for start in range(len(parts) - length + 1):
                yield "".join(parts[start : start + length])


def _harmless(parts: Sequence[str], name: str) -> KeyMeaning:
    if name in _QUERIES:
        return KeyMeaning.QUERY
    if name in _SOURCES:
        return KeyMeaning.SOURCE
    is_url = bool(parts) and not _URLS.isdisjoint((parts[0], parts[-1])) and parts[0] not in _NOT_URLS
    return KeyMeaning.URL if is_url else KeyMeaning.ORDINARY


def _tells_about(parts: Sequence[str]) -> bool:
    if not parts or parts[-1] in _TELLS_ABOUT or parts[0] in _ASKS:
        return True
    return len(parts) == 2 and parts[0] in _TOKENS_OF_A_MODEL and parts[1] == "tokens"
