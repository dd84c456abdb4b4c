"""Facts of an HttpRequest: its route, its id, its user and the client's address."""

from __future__ import annotations

from crm_monitoring.requests.client_ip import client_ip
from crm_monitoring.requests.request_id import harmless_id, request_id_of
from crm_monitoring.requests.routes import endpoint_of, match_of, method_of, resolved, route_of
from crm_monitoring.requests.routes import reset as forget_routes
from crm_monitoring.requests.unmonitored import is_unmonitored_path
from crm_monitoring.requests.unmonitored import reset as forget_unmonitored_paths
from crm_monitoring.requests.user import evaluated_user, evaluated_user_id, user_id_of

__all__ = [
    "client_ip",
    "endpoint_of",
    "evaluated_user",
    "evaluated_user_id",
    "forget_routes",
    "forget_unmonitored_paths",
    "harmless_id",
    "is_unmonitored_path",
    "match_of",
    "method_of",
    "request_id_of",
    "resolved",
    "route_of",
    "user_id_of",
]
