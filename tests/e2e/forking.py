"""A program that forks while an event waits to be sent."""

from __future__ import annotations

import os
import sys

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "demo_project.settings"
django.setup()

from crm_monitoring import capture_message  # noqa: E402 - Django comes first

# The first one is on its way while the second waits for its turn.
capture_message("sent before the fork")
capture_message("waiting at the fork")
child = os.fork()
if child == 0:
    capture_message("in the child")
    sys.exit()
os.waitpid(child, 0)
