"""How keys are declared: those of the setting, the options of an alert rule and those of a channel."""

from __future__ import annotations

from collections.abc import Mapping
from keyword import iskeyword
from typing import Any, ClassVar, NamedTuple, NoReturn

from crm_monitoring.conf import parsing
from crm_monitoring.conf.parsing import MASK, Parser, Unusable, did_you_mean

UNKNOWN_KEY = "crm_monitoring.E001"
"""A key of `CRM_MONITORING` does not exist. Write the one that the hint names."""

REQUIRED: Any = object()
"""The default of an option that has to be given."""

NO_FALLBACK = object()


class Key(NamedTuple):
    """
    A key of a setting.

    Attributes:
        parse: Returns the value in its final type, or raises `Unusable`.
        meaning: One line for the table of settings.
        env: The environment variable that counts where the setting does not give the key.
        unusable: What the key becomes when its value cannot be used, where the default is not the feature turned off.
        secret: Whether nobody may be shown the value.
    """

    default: Any
    parse: Parser
    meaning: str
    env: str
    unusable: Any
    secret: bool

    def masked(self, value: Any) -> Any:
        """Return what may be shown of a value: of a secret whether it is set, of a secret dict its keys."""
        if not self.secret or not value:
            return value
        # A proxy's password, a certificate's path, the address of a webhook: the names say enough.
        return dict.fromkeys(value, MASK) if isinstance(value, Mapping) else MASK

    def fresh_default(self) -> Any:
        """Return the default, which nobody else changes."""
        return self.default.copy() if isinstance(self.default, dict) else self.default


def key(
    default: Any,
    parse: Parser,
    meaning: str,
    *,
    env: str = "",
    unusable: Any = NO_FALLBACK,
    secret: bool = False,
) -> Any:
    """Declare a key in the body of a subclass of `Keys`, where it is annotated with its type: see `Key`."""
    return Key(default, parse, meaning, env, unusable, secret)


# A dataclass of so many fields would take longer to make than all else here to import.
class Keys:
    """
    Values of keys, every key present and usable. A subclass declares its keys: `NAME: str = key("", parsing.text, "What it means.")`.

    A key whose name Python keeps for itself is declared with an underscore behind it: `for_` is the key "for".

    Attributes:
        declared: Every key by its name, those of base classes first.
    """

    declared: ClassVar[dict[str, Key]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.declared = cls.declared | {
            name.rstrip("_"): spec for name, spec in vars(cls).items() if isinstance(spec, Key)
        }

    def __init__(self, **values: Any) -> None:
        defaults = {name: spec.fresh_default() for name, spec in self.declared.items()}
        vars(self).update({_attribute(name): value for name, value in (defaults | values).items()})

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{name} cannot be changed here: write it in CRM_MONITORING.")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(self) == vars(other)

    def __repr__(self) -> str:
        values = vars(self)
        shown = (f"{name}={spec.masked(values[_attribute(name)])!r}" for name, spec in self.declared.items())
        return f"{type(self).__name__}({', '.join(shown)})"


def _attribute(name: str) -> str:
    return f"{name}_" if iskeyword(name) else name


def parse_options(declared: Mapping[str, Key], given: Mapping[Any, Any], owner: str) -> dict[str, Any]:
    """
    Return the options that `given` says, and the defaults of the others. One that is None counts as left out.

    Args:
        owner: Whose options they are, in the sentence about an unknown one.

    Raises:
        Unusable: for the first that cannot be used; its sentence begins with the option, "['threshold'] is ...".
    """
    for name in given:
        if name not in declared:
            shown = parsing.without_userinfo(str(name))
            raise Unusable(
                UNKNOWN_KEY, f"has an option {shown!r}, which {owner} does not have", did_you_mean(name, declared)
            )
    return {name: _option(name, spec, given.get(name)) for name, spec in declared.items()}


def _option(name: str, spec: Key, value: Any) -> Any:
    if value is None:
        if spec.default is REQUIRED:
            raise Unusable(UNKNOWN_KEY, f"has no {name}", f"Write {name!r}: {spec.meaning}")
        return spec.fresh_default()
    try:
        return spec.parse(value)
    except Unusable as error:
        # The sentence of a secret is finished here, for only here it is known to be one.
        complaint = error.sentence(secret=spec.secret)
        raise Unusable(error.id, f"[{name!r}] {complaint}", error.hint) from None
