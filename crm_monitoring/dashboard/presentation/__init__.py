"""An event as people read it, on its page and in messages."""

from __future__ import annotations

from crm_monitoring.dashboard.presentation.course import Course, course_of, pieces_of_spans, pieces_of_steps
from crm_monitoring.dashboard.presentation.page import level_of, present, user_of
from crm_monitoring.dashboard.presentation.parts import EventPage, Frame, SourceLine

__all__ = [
    "Course",
    "EventPage",
    "Frame",
    "SourceLine",
    "course_of",
    "level_of",
    "pieces_of_spans",
    "pieces_of_steps",
    "present",
    "user_of",
]
