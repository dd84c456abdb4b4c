"""An event as people read it, on its page and in messages."""

from __future__ import annotations

from crm_monitoring.dashboard.presentation.copying import Route, as_curl, as_markdown, as_test
from crm_monitoring.dashboard.presentation.course import Course, course_of, pieces_of_spans, pieces_of_steps
from crm_monitoring.dashboard.presentation.page import level_of, present, user_of
from crm_monitoring.dashboard.presentation.parts import EventPage, Frame, SourceLine
from crm_monitoring.dashboard.presentation.stacks import place_of

__all__ = [
    "Course",
    "EventPage",
    "Frame",
    "Route",
    "SourceLine",
    "as_curl",
    "as_markdown",
    "as_test",
    "course_of",
    "level_of",
    "pieces_of_spans",
    "pieces_of_steps",
    "place_of",
    "present",
    "user_of",
]
