"""Secrets and personal data: what they are called, what they look like, and what stands in their place."""
