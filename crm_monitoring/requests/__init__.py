"""Facts of an HttpRequest: its route, its id and the client's address."""
