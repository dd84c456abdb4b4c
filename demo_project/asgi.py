from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

from crm_monitoring.asgi import flushed_at_shutdown

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo_project.settings")

application = flushed_at_shutdown(get_asgi_application())
