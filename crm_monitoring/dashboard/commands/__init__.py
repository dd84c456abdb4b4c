"""Subcommands that the dashboard adds to `manage.py monitoring`."""
