"""What your own alert channels, kinds of rules and cards are built on."""

from __future__ import annotations

from crm_monitoring.conf import REQUIRED, key, parsing
from crm_monitoring.dashboard.alerts.channels import Channel, NotSent
from crm_monitoring.dashboard.alerts.messages import Message
from crm_monitoring.dashboard.alerts.rules import Finding, Rule
from crm_monitoring.dashboard.pages.cards import Card
from crm_monitoring.dashboard.store.figures import Figures

__all__ = ["REQUIRED", "Card", "Channel", "Figures", "Finding", "Message", "NotSent", "Rule", "key", "parsing"]
