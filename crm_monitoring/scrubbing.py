"""
The one scrubber for everything that leaves the process: log lines, events, spans, breadcrumbs, URLs, command lines.

Pure Python: it knows neither Django nor Sentry. What has nothing to hide comes back as the very same object.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, time, timedelta
from enum import Enum, auto
from functools import lru_cache
from operator import is_
from typing import Any, TypeVar
from urllib.parse import quote

from crm_monitoring.patterns import EMAIL, FILTERED, RULES, may_hold_pair, pairs, spliced, without_numbers

T = TypeVar("T")

TOO_DEEP = "[Filtered: too deep]"
TOO_LARGE = "[Filtered: too large]"
CUT = "...[cut]"

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
    "session key", "connect sid", "csrf token", "dsn", "connection string", "access key", "api key", "auth key",
    "encryption key", "license key", "master key", "private key", "signing key", "ssh key", "shared key", "consumer key",
    "cle api", "cle privee", "cle de chiffrement",
    # Payment
    "card number", "card no", "credit card", "debit card", "cc number", "ccnum", "cvv", "cvc", "card code", "card cid",
    "iban", "rib", "account number", "bank account", "routing number", "numero carte", "numero de carte", "num carte",
    "carte bancaire", "carte bleue", "cryptogramme", "numero de compte", "num compte",
    # Numbers that states give to people
    "ssn", "social security", "national insurance", "national id", "passport number", "passport no", "driving licence",
    "driver license", "nir", "num secu", "numero secu", "no secu", "securite sociale", "numero fiscal", "numero de passeport",
    "numero passeport",
)  # fmt: skip
"""Words, or words in a row, that make a key sensitive anywhere in its name, whatever its case and separators."""

SENSITIVE_NAMES = ("auth", "csrf", "xsrf", "pass", "passport", "refresh", "salt", "session", "sid", "user session", "x auth")
"""What is sensitive only as the whole name: `refresh` is a token, `refresh_rate` is none."""

URL_NAMES = ("code", "hash", "hmac", "invitation", "key", "nonce", "sig", "signature", "ticket", "uidb64")
"""What is sensitive, as the whole name, in a query string and among the parameters of a route only."""

_TELLS_ABOUT = frozenset(
    "accepted age algorithm at backend changed class count domain enabled engine expired expires expiry file format httponly "
    "in lastfour length lifetime limit method modifie le name on path policy required samesite secure status statut strength "
    "ttl type usage valid validator validators version".split()
)
_ASKS = frozenset("can has is max min must nb needs requires should show total".split())
_TOKENS_OF_A_MODEL = frozenset("cached completion input output prompt reasoning".split())
_TRACE_IDS = frozenset(("eventid", "traceid", "spanid", "parentspanid", "segmentid"))

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD = re.compile(r"[^\W\d_]+")
_SUFFIX_LETTERS = 5
_MAX_CACHED_LETTERS = 128
_MAX_CACHED = 4096
_MAX_DEPTH = 32
_MAX_ITEMS = 100_000
_MAX_TEXT = 65_536
_FIRST_CARD_NUMBER = 10**12
_PAST_CARD_NUMBERS = 10**19
_CONTAINERS = (dict, list, tuple, set, frozenset)
_ATOMS = frozenset((type(None), bool, float))
_NO_SECRETS = (bool, date, time, timedelta)
_MOMENT_OR_ID = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-9]{2})?|[0-9a-f]{32}"
)
_TRACE_ID = re.compile(r"[0-9a-f]{16}|[0-9a-f]{32}")
_NAME = re.compile(r"[\w.-]+")

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_LONG_HEX = re.compile(r"(?<![0-9A-Za-z])[0-9a-fA-F]{32,}+(?![0-9A-Za-z])")
_LONG_RUN = re.compile(r"[\w=-]{20,}+", re.ASCII)
_CHUNK = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_LETTERS_OF_A_WORD = 3
_SEGMENT = re.compile(r"[^/?#]+")


def words(key: str) -> list[str]:
    """Split a key into its lower-case words, without accents and digits: `X-ApiKey2` is x, api, key."""
    plain = "".join(sign for sign in unicodedata.normalize("NFKD", key) if not unicodedata.combining(sign))
    return [word.casefold() for word in _WORD.findall(_CAMEL.sub(" ", plain))]


def _compact(names: Iterable[str]) -> frozenset[str]:
    return frozenset("".join(words(name)) for name in names) - {""}


class Kind(Enum):
    """What a key says of its value."""

    ORDINARY = auto()
    SENSITIVE = auto()
    TRACE_ID = auto()


class Scrubber:
    """
    Replaces secrets by "[Filtered]", in text and in trees of containers. It never changes what it is given.

    `Scrubber((*SENSITIVE_KEYS, "customer number"))` adds a key, `Scrubber(("customer number",))` replaces them all.

    Args:
        keys: Names, in words, of what is sensitive anywhere in a key.
        names: Names of what is sensitive as a whole key.
        emails: Whether e-mail addresses are replaced too.
        max_text: Longer text is cut to so many characters, between two words, and marked "...[cut]".
    """

    def __init__(
        self,
        keys: Iterable[str] = SENSITIVE_KEYS,
        *,
        names: Iterable[str] = SENSITIVE_NAMES,
        emails: bool = True,
        max_text: int = _MAX_TEXT,
    ) -> None:
        keys = tuple(keys)
        self._keys = _compact(keys)
        self._suffixes = tuple(key for key in self._keys if len(key) >= _SUFFIX_LETTERS)
        self._longest = max((len(words(key)) for key in keys), default=0)
        self._names = _compact(names)
        self._url_names = _compact(URL_NAMES)
        self._rules = (*RULES, EMAIL) if emails else RULES
        self._max_text = max_text
        self.ordinary_keys: set[str] = set()
        self.clean_texts: set[str] = set()
        self._cached_key = lru_cache(_MAX_CACHED)(self._read)
        self._cached_url_key = lru_cache(_MAX_CACHED)(self._is_sensitive_in_url)

    # -- keys

    def is_sensitive(self, key: str) -> bool:
        """
        Tell whether the values of `key` are secrets.

        A key that only tells about a secret is none: `password_changed_at`, `has_token`, `secret_name`.
        """
        return self.read(key)[1] is Kind.SENSITIVE

    def read(self, key: str) -> tuple[str, Kind]:
        """Return `key` without the secrets in itself, and what it says of its value."""
        return self._cached_key(key) if len(key) <= _MAX_CACHED_LETTERS else self._read(key)

    def _read(self, key: str) -> tuple[str, Kind]:
        if self._is_sensitive(key):
            return self.text(key), Kind.SENSITIVE
        name = self.text(key)
        if "".join(words(key)) in _TRACE_IDS:
            return name, Kind.TRACE_ID
        if name == key and len(key) <= _MAX_CACHED_LETTERS:
            _remember(self.ordinary_keys, key)
        return name, Kind.ORDINARY

    def _is_sensitive(self, key: str) -> bool:
        parts = words(key)
        if not parts or parts[-1] in _TELLS_ABOUT or parts[0] in _ASKS:
            return False
        if len(parts) == 2 and parts[1] == "tokens" and parts[0] in _TOKENS_OF_A_MODEL:
            return False
        return "".join(parts) in self._names or any(map(self._is_entry, self._runs(parts)))

    def _runs(self, parts: Sequence[str]) -> Iterable[str]:
        for length in range(1, self._longest + 1):
            for start in range(len(parts) - length + 1):
                yield "".join(parts[start : start + length])

    def _is_entry(self, run: str) -> bool:
        singular = run.removesuffix("s")
        return run in self._keys or singular in self._keys or singular.endswith(self._suffixes)

    def _is_sensitive_in_url(self, key: str) -> bool:
        return "".join(words(key)) in self._url_names or self._is_sensitive(key)

    def _is_sensitive_in_text(self, key: str, before: str) -> bool:
        return self.is_sensitive(key) or (before in ("?", "&") and self._cached_url_key(key[:_MAX_CACHED_LETTERS]))

    # -- trees

    def scrub(self, value: T) -> T:
        """
        Return `value` without its secrets: the same object where there are none, else a copy.

        Dicts, lists, tuples, sets, text and bytes are searched, whatever is in them; anything else stays as it is, unless
        its key is sensitive. Under a sensitive key only None, booleans, dates and empty text stay. Of two items in a list or
        tuple the first is read as a key too. A subclass of a container becomes the plain container, a named tuple stays one.

        Containers nested more than 32 deep, as in a cycle, become "[Filtered: too deep]", those past 100 000 items
        "[Filtered: too large]".
        """
        result: T = _Walk(self).any(value, 0)
        return result

    # -- text

    def text(self, text: str) -> str:
        """
        Return `text` without its secrets: what has the form of one, and the values of sensitive keys in it.

        Found are `key=value`, `"key": "value"`, `--key value`, URLs with a password, the rows that PostgreSQL and MySQL quote
        in errors, cards, IBANs, e-mail addresses, PEM blocks, JWTs and the tokens of well-known services.
        """
        if text in self.clean_texts or _MOMENT_OR_ID.fullmatch(text):
            return text
        if len(text) > self._max_text:
            return self._replaced(self._head(text)) + CUT
        result = self._replaced(text)
        if result != text:
            return result
        if len(text) <= _MAX_CACHED_LETTERS:
            _remember(self.clean_texts, text)
        return text

    def _replaced(self, text: str) -> str:
        for rule in self._rules:
            if rule.may_apply(text):
                text = rule.pattern.sub(rule.replacement, text)
        if may_hold_pair(text):
            text = spliced(text, pairs(text, self._is_sensitive_in_text))
        return without_numbers(text)

    def _head(self, text: str) -> str:
        """Return the beginning of `text`, up to where no secret is cut in two."""
        head = text[: self._max_text]
        return head[: max(head.rfind(sign) for sign in " \n,;&") + 1]

    # -- URLs and command lines

    def query(self, query: str) -> str:
        """Return a query string without its secrets; more names are sensitive in it than elsewhere: `code`, `key`, `sig`."""
        return self.text(f"?{query}")[1:] if query else query

    def url(self, url: str) -> str:
        """
        Return a URL or a path without its secrets: passwords, query values, and segments that look like a credential.

        A segment looks like one if it holds a long run of random letters and digits. A UUID with its dashes does not.
        """
        path, sign, rest = url.partition("?")
        result = self.text(_SEGMENT.sub(_segment, path) + sign + rest)
        return url if result == url else result

    def route(self, path: str, captured: Mapping[str, Any]) -> str:
        """
        Return `path` with the values of a route's sensitive parameters replaced by their names: "/login/{token}/".

        Args:
            captured: The parameters by name, as `ResolverMatch.kwargs` has them.
        """
        names = {
            form: f"{{{name}}}"
            for name, value in captured.items()
            if value not in (None, "") and self._cached_url_key(name)
            for form in (str(value), quote(str(value)))
        }
        if not names:
            return path
        patterns = [_delimited(form, path) for form in sorted(names, key=len, reverse=True)]
        return re.sub("|".join(patterns), lambda match: names[match[0]], path)

    def argv(self, argv: Sequence[str]) -> list[str]:
        """
        Return a command line without its secrets: `--password=x`, `--password x`, `PASSWORD=x`.

        The value of a short option stays: `-p` is a port more often than a password.
        """
        result, hide = [], False
        for argument in argv:
            is_option = argument.startswith("-")
            result.append(FILTERED if hide and not is_option else self.text(argument))
            hide = is_option and "=" not in argument and argument.startswith("--") and self.is_sensitive(argument)
        return result


def _remember(known: set[str], text: str) -> None:
    if len(known) >= _MAX_CACHED:
        known.clear()
    known.add(text)


def _segment(match: re.Match[str]) -> str:
    segment = match[0]
    return FILTERED if looks_random(segment) else segment


def looks_random(segment: str) -> bool:
    """Tell whether a segment of a path has a run that no one would write: 32 hex digits, or 20 signs in no order."""
    if len(segment) < 20 or _UUID.fullmatch(segment):
        return False
    return _LONG_HEX.search(segment) is not None or any(map(_has_no_words, _LONG_RUN.findall(segment)))


def _has_no_words(run: str) -> bool:
    chunks = _CHUNK.findall(run)
    letters = sum(map(len, chunks))
    return letters >= 20 and letters < _LETTERS_OF_A_WORD * len(chunks)


def _delimited(form: str, path: str) -> str:
    """Return a pattern for `form` as a word of its own, so that "1" does not match in "/v12/", or else anywhere."""
    pattern = rf"(?<!\w){re.escape(form)}(?!\w)"
    return pattern if re.search(pattern, path) else re.escape(form)


class _Walk:
    """One pass over one tree: counts the items it has seen."""

    __slots__ = ("_items_left", "_scrubber")

    def __init__(self, scrubber: Scrubber) -> None:
        self._scrubber = scrubber
        self._items_left = _MAX_ITEMS

    def any(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind is str:
            return self._scrubber.text(value)
        if kind in _ATOMS:
            return value
        if kind is int:
            return self._number(value)
        if isinstance(value, _CONTAINERS):
            return self._container(value, depth + 1)
        if isinstance(value, str):
            return self._scrubber.text(value)
        return self._bytes(value) if isinstance(value, bytes) else value

    def _number(self, value: int) -> Any:
        if value < _FIRST_CARD_NUMBER:
            return value
        digits = f"{value:d}" if value < _PAST_CARD_NUMBERS else ""
        return value if without_numbers(digits) == digits else FILTERED

    def _bytes(self, value: bytes) -> bytes:
        text = value.decode("latin-1")
        result = self._scrubber.text(text)
        return value if result == text else result.encode("latin-1")

    def _container(self, value: Any, depth: int) -> Any:
        self._items_left -= len(value)
        if depth > _MAX_DEPTH:
            return TOO_DEEP
        if self._items_left < 0:
            return TOO_LARGE
        if isinstance(value, dict):
            return self._dict(value, depth)
        if isinstance(value, set | frozenset):
            return self._set(value, depth)
        return self._sequence(value, depth)

    def _dict(self, value: dict[Any, Any], depth: int) -> dict[Any, Any]:
        # Read by dict itself, at once: Django's MultiValueDict gives something else, and another thread may write.
        items = list(dict.items(value))
        changes = {}
        ordinary, clean = self._scrubber.ordinary_keys, self._scrubber.clean_texts
        for key, item in items:
            if key in ordinary:
                # What most fields of a line are, without a call for each.
                form = type(item)
                if form in _ATOMS or (form is str and item in clean) or (form is int and item < _FIRST_CARD_NUMBER):
                    continue
            name, kind = self._key(key, depth)
            scrubbed = self._under(kind, item, depth)
            if scrubbed is not item or name is not key:
                changes[key] = name, scrubbed
        return dict(changes.get(key, (key, item)) for key, item in items) if changes else value

    def _key(self, key: Any, depth: int) -> tuple[Any, Kind]:
        if isinstance(key, str):
            name, kind = self._scrubber.read(key)
            # The cache may hold another object that is equal.
            return (key if name == key else name), kind
        if isinstance(key, bytes):
            return self.any(key, depth), self._scrubber.read(key.decode("latin-1"))[1]
        return self.any(key, depth), Kind.ORDINARY

    def _under(self, kind: Kind, value: Any, depth: int) -> Any:
        if kind is Kind.SENSITIVE:
            return _hidden(value)
        if kind is Kind.TRACE_ID and isinstance(value, str) and _TRACE_ID.fullmatch(value):
            return value
        return self.any(value, depth)

    def _sequence(self, value: list[Any] | tuple[Any, ...], depth: int) -> Any:
        items = list(value)
        if names := getattr(value, "_fields", None):
            scrubbed = list(self._dict(dict(zip(names, items, strict=True)), depth).values())
        elif self._is_pair(items):
            scrubbed = [items[0], _hidden(items[1])]
        else:
            scrubbed = [self.any(item, depth) for item in items]
        if all(map(is_, items, scrubbed)):
            return value
        return _rebuilt(value, scrubbed)

    def _is_pair(self, items: list[Any]) -> bool:
        if len(items) != 2 or not isinstance(items[0], str | bytes) or len(items[0]) > _MAX_CACHED_LETTERS:
            return False
        name = items[0] if isinstance(items[0], str) else items[0].decode("latin-1")
        return _NAME.fullmatch(name) is not None and self._scrubber.is_sensitive(name)

    def _set(self, value: set[Any] | frozenset[Any], depth: int) -> Any:
        items = list(value)
        scrubbed = [self.any(item, depth) for item in items]
        if all(map(is_, items, scrubbed)):
            return value
        return set(scrubbed) if isinstance(value, set) else frozenset(scrubbed)


def _hidden(value: Any) -> Any:
    if value is None or isinstance(value, _NO_SECRETS) or (isinstance(value, str | bytes) and not value):
        return value
    return FILTERED


def _rebuilt(value: Any, items: list[Any]) -> Any:
    if isinstance(value, list):
        return items
    return tuple.__new__(type(value), items) if hasattr(value, "_fields") else tuple(items)
