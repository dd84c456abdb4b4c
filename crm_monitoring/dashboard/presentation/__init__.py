"""An event as people read it, on its page and in messages."""

from __future__ import annotations

from crm_monitoring.dashboard.presentation.page import level_of, present, user_of
from crm_monitoring.dashboard.presentation.parts import EventPage, Frame, SourceLine

__all__ = ["EventPage", "Frame", "SourceLine", "level_of", "present", "user_of"]
