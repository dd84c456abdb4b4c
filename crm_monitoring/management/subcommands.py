"""What apps add to `manage.py monitoring`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.core.checks import CheckMessage

from crm_monitoring.registry import Registry

if TYPE_CHECKING:
    from django.core.management.base import BaseCommand, CommandParser


class Subcommand:
    """
    One thing that `manage.py monitoring` can do.

    Attributes:
        name: The word on the command line.
        help: One sentence for `--help`.
    """

    name: str
    help: str

    def __init__(self, command: BaseCommand) -> None:
        self.stdout = command.stdout
        self.style = command.style

    @staticmethod
    def add_arguments(parser: CommandParser) -> None:
        """Declare the arguments; none unless overridden."""

    def run(self, **options: Any) -> None:
        """Do it. What cannot be done is a CommandError that says what to do instead."""
        raise NotImplementedError


subcommands: dict[str, type[Subcommand]] = {}
"""Every subcommand that was declared, by the word on the command line."""

destinations = Registry[[], str]("Saying where events go:")
complaints = Registry[[], list[CheckMessage]]("Looking for problems:")


def subcommand(declared: type[Subcommand]) -> type[Subcommand]:
    """
    Make a subclass of `Subcommand` known to the command.

    In the module that the AppConfig names: `monitoring_subcommands = "app.subcommands"`. It is imported when the command runs.
    """
    subcommands[declared.name] = declared
    return declared


def also_goes_to(destination: Callable[[], str]) -> Callable[[], str]:
    """Let `manage.py monitoring check` say where events go beside Sentry: what the function returns, unless it is empty."""
    destinations.add(destination)
    return destination


def also_complains(complain: Callable[[], list[CheckMessage]]) -> Callable[[], list[CheckMessage]]:
    """Let `manage.py monitoring check` tell of what `manage.py check` has no time for: what only the database knows."""
    complaints.add(complain)
    return complain
