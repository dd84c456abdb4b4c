"""The project's Celery app: `celery -A tests.e2e.project.worker worker`."""

from __future__ import annotations

import os

from celery import Celery

from crm_monitoring import capture_message, get_logger

app = Celery("crm", broker=os.environ["E2E_BROKER"], broker_connection_retry_on_startup=True)
app.conf.task_default_queue = os.environ["E2E_QUEUE"]

logger = get_logger("crm.work")


@app.task(name="organisations.imports")
def imports(fails: bool) -> None:
    logger.info("import_started", fails=fails)
    try:
        if fails:
            raise ValueError("no such column")
    except ValueError:
        logger.exception("import_failed", row=3)
        raise


@app.task(name="organisations.floods")
def floods() -> None:
    for _ in range(12):
        capture_message("flood")


WORK = {"succeeds": imports.s(fails=False), "fails": imports.s(fails=True), "floods": floods.s()}
