"""Shortcuts around dear parts of sentry_sdk: each can be left out, and the event is the same."""
