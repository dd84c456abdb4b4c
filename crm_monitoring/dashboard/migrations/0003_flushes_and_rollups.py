from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("crm_monitoring_dashboard", "0002_alerts_people_can_live_with")]

    operations = [
        migrations.CreateModel(
            name="Flush",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("started", models.BigIntegerField()),
                ("environment", models.CharField(max_length=64)),
                ("body", models.BinaryField(null=True)),
                ("emptied", models.BigIntegerField(null=True)),
            ],
            options={
                "verbose_name": "flush",
                "verbose_name_plural": "flushes",
                "indexes": [models.Index(fields=["emptied", "started"], name="crm_monitoring_flush_waits")],
            },
        ),
        migrations.CreateModel(
            name="RollUp",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("seconds", models.PositiveIntegerField()),
                ("started", models.BigIntegerField()),
                ("environment", models.CharField(max_length=64)),
                ("body", models.BinaryField()),
                ("totals", models.BinaryField()),
                ("rolled", models.BooleanField(default=False)),
            ],
            options={
                "verbose_name": "roll-up",
                "verbose_name_plural": "roll-ups",
                "constraints": [
                    models.UniqueConstraint(
                        fields=["seconds", "started", "environment"], name="crm_monitoring_rollup_once"
                    )
                ],
                "indexes": [models.Index(fields=["rolled", "seconds", "started"], name="crm_monitoring_rollup_waits")],
            },
        ),
    ]
