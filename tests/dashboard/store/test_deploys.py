"""How deploys are kept, on each kind of database."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from crm_monitoring.dashboard.models import Deploy
from crm_monitoring.dashboard.store import deploys


def deploy(release: str, minutes_ago: int) -> Deploy:
    return Deploy(release=release, environment="production", moment=timezone.now() - timedelta(minutes=minutes_ago))


def test_a_deploy_is_marked_once_within_ten_minutes(each_database: str) -> None:
    assert deploys.mark(deploy("1.4.2 é🚀", minutes_ago=30))
    assert deploys.mark(deploy("1.4.2 é🚀", minutes_ago=15))
    latest = deploy("1.4.2 é🚀", minutes_ago=9)

    assert not deploys.mark(latest)

    kept = Deploy.objects.using(each_database).values_list("release", "moment")
    assert [release for release, _ in kept] == ["1.4.2 é🚀", "1.4.2 é🚀"]
    assert kept[0][1] == latest.moment
