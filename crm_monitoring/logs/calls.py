"""What the fields of a line do not hold of the call that logged it: the level's number, the template of its message."""

from __future__ import annotations

from typing import Any, Self


class Call(str):
    """
    The name of the method a line was logged by, which every processor is given, and what else is known of the call.

    Attributes:
        number: The level's number, where it is none of the five.
        template: The message before its arguments were put in; None where it had none.
        params: These arguments.
    """

    number: int | None = None
    template: str | None = None
    params: Any = ()

    @classmethod
    def of(cls, method: str, number: int | None, template: Any = None, params: Any = ()) -> Self:
        """Return the call of `method`; without a template unless there are arguments for it."""
        call = cls(method)
        call.number = number
        if params and issubclass(type(template), str):
            call.template, call.params = str.__str__(template), params
        return call
