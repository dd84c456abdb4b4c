"""One optional world each: what a project may or may not use. Nobody below knows of them."""

from __future__ import annotations
