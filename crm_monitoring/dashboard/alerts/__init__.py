"""Alerts: rules over what the dashboard keeps, and who is told."""
