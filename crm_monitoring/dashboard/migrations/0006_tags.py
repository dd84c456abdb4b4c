from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("crm_monitoring_dashboard", "0005_kept_works"),
    ]

    operations = [
        migrations.CreateModel(
            name="TagValue",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=64)),
                ("value", models.CharField(max_length=200)),
                ("count", models.PositiveBigIntegerField(default=0)),
                ("last_seen", models.DateTimeField(db_index=True)),
                (
                    "issue",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="tags",
                        to="crm_monitoring_dashboard.issue",
                    ),
                ),
            ],
            options={
                "verbose_name": "value of a tag",
                "verbose_name_plural": "values of tags",
                "indexes": [models.Index(fields=["name", "value"], name="crm_monitoring_tag_found")],
                "constraints": [
                    models.UniqueConstraint(fields=("issue", "name", "value"), name="crm_monitoring_tag_once")
                ],
            },
        ),
    ]
