"""What is scrubbed: a line as it is logged, and an event of 40 kB as it leaves."""

from __future__ import annotations

from typing import Any

LINE: dict[str, Any] = {
    "event": "order_placed",
    "level": "info",
    "timestamp": "2026-01-01T00:00:00.000Z",
    "logger": "shop.orders",
    "request_id": "0af7651916cd43dd8448eb211c80319c",
    "order": 1,
    "customer": "acme",
    "total": 9.5,
}

EVENT: dict[str, Any] = {
    "event_id": "0af7651916cd43dd8448eb211c80319c",
    "level": "error",
    "request": {
        "url": "http://testserver/orders/",
        "query_string": "page=1&token=abcdef",
        "headers": {"User-Agent": "benchmark/1.0", "Authorization": "Bearer abcdef"},
    },
    "exception": {
        "values": [
            {
                "type": "OrderFailed",
                "value": "No stock for ann@example.com",
                "stacktrace": {
                    "frames": [
                        {
                            "filename": f"shop/part_{number}.py",
                            "function": "place",
                            "context_line": "        raise OrderFailed(customer)",
                            "pre_context": ["    def place(self, order: Order) -> None:"] * 5,
                            "post_context": ["    def cancel(self, order: Order) -> None:"] * 5,
                            "vars": {"order": {"id": number, "lines": ["a line of text"] * 10}, "password": "secret"},
                        }
                        for number in range(45)
                    ]
                },
            }
        ]
    },
    "breadcrumbs": {
        "values": [
            {"category": "benchmark", "message": "something happened", "data": {"number": number}}
            for number in range(50)
        ]
    },
}
