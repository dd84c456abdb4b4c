"""One list of callables that others add to: each is called in its turn, and one that fails stops nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, ParamSpec, TypeVar

from crm_monitoring import faults

P = ParamSpec("P")
T = TypeVar("T")


class Registry(Generic[P, T]):
    """
    Callables in the order they were added. One that raises is counted as a fault, by its name.

    A call costs a loop over a tuple, which a thread may replace meanwhile: who is being called is not disturbed.

    Args:
        what: What the callables are, as a fault names them: "The hook" app.hooks.export "failed 1 time".
    """

    __slots__ = ("_entries", "_what")

    def __init__(self, what: str) -> None:
        self._what = what
        self._entries: tuple[tuple[object, Callable[P, T]], ...] = ()

    def __bool__(self) -> bool:
        return bool(self._entries)

    def __iter__(self) -> Iterator[Callable[P, T]]:
        return (function for _, function in self._entries)

    def add(self, function: Callable[P, T], name: str | None = None) -> None:
        """Add `function`, once. With a name it takes the place of what has that name, and `results` names it so."""
        key: object = function if name is None else name
        if name is not None:
            self.remove(name)
        if all(known != key for known, _ in self._entries):
            self._entries = (*self._entries, (key, function))

    def remove(self, key: object) -> None:
        """Take away a function, or what was added by the name `key`; nothing happens where it is not there."""
        self._entries = tuple(entry for entry in self._entries if entry[0] != key)

    def call(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Call each."""
        for _, function in self._entries:
            try:
                function(*args, **kwargs)
            except Exception as error:
                faults.record(f"{self._what} {name_of(function)}", error)

    def results(self, *args: P.args, **kwargs: P.kwargs) -> Iterator[tuple[object, T | None]]:
        """Call each, and yield what it was added as with what it returned: None where it failed."""
        for key, function in self._entries:
            try:
                yield key, function(*args, **kwargs)
            except Exception as error:
                faults.record(f"{self._what} {name_of(function)}", error)
                yield key, None


def name_of(function: Callable[..., object]) -> str:
    """Return the dotted name of a function, of an object's class where it has none."""
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', type(function).__qualname__)}"
