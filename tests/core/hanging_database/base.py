"""A database that does not answer: connecting waits for the event in its options."""

from __future__ import annotations

from typing import Any

from django.db.backends.sqlite3 import base


class DatabaseWrapper(base.DatabaseWrapper):
    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        answers = conn_params.pop("answers")
        answers.wait(10)
        return super().get_new_connection(conn_params)
