"""gunicorn's own lines, those before Django is loaded among them, in the format of all others."""

from __future__ import annotations

import logging

from crm_monitoring.logs import Handler

errorlog = None
logging.getLogger("gunicorn.error").handlers = [Handler()]
