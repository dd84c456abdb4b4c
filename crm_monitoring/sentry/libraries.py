"""
The SDK's integrations of libraries: on for what is imported, and for the rest once it is.

By itself the SDK imports each library that is installed when it starts, to see whether there is something to integrate: half a
second for Celery or Redis, a second for LangChain, in each process and command of a project that uses them somewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache, partial
from importlib import import_module

import sentry_sdk

from crm_monitoring.on_import import when_imported
from crm_monitoring.sentry.mode import OwnIntegration
from crm_monitoring.sentry.sdk import AUTO_ENABLING, DEACTIVATES, DidNotEnable, Integration, setup_integrations

# Where the library is not called as its integration is.
_LIBRARIES = {"google_genai": "google.genai", "openai_agents": "agents"}


def follow(leave_out: Collection[str]) -> None:
    """Give the client that runs the integrations of what is imported; and whichever runs then, those of what will be."""
    for path in AUTO_ENABLING:
        name = path.split(".")[-2]
        if name not in leave_out:
            when_imported(_LIBRARIES.get(name, name), _enabler(path))


@cache
def _enabler(path: str) -> Callable[[], None]:
    return partial(_enable, path)


def _enable(path: str) -> None:
    client = sentry_sdk.get_global_scope().client
    own = client.get_integration(OwnIntegration.identifier)
    integration = _made(path) if isinstance(own, OwnIntegration) and own.watches_libraries else None
    if integration is None or integration.identifier in client.integrations:
        return
    disabled = client.options["disabled_integrations"]
    try:
        client.integrations.update(
            setup_integrations([integration], False, disabled_integrations=disabled, options=client.options)
        )
    except DidNotEnable:
        # As the SDK has it: the version that is installed is too old, or there is something else that it needs.
        return
    for higher, lower in DEACTIVATES.items():
        for identifier in lower if higher in client.integrations else ():
            client.integrations.pop(identifier, None)


def _made(path: str) -> Integration | None:
    module, _, name = path.rpartition(".")
    try:
        kind: Callable[[], Integration] | None = getattr(import_module(module), name, None)
    except (DidNotEnable, SyntaxError):
        return None
    # There is none yet where somebody imports the integration itself, which has imported its library.
    return None if kind is None else kind()
