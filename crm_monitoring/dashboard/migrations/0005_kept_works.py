from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("crm_monitoring_dashboard", "0004_metric_rows_into_flushes"),
    ]

    operations = [
        migrations.AddField(
            model_name="event",
            name="request_id",
            field=models.CharField(blank=True, db_default="", db_index=True, max_length=64),
        ),
        migrations.AddField(
            model_name="event",
            name="trace_id",
            field=models.CharField(blank=True, db_default="", db_index=True, max_length=32),
        ),
        migrations.AddField(
            model_name="slowtransaction",
            name="request_id",
            field=models.CharField(blank=True, db_default="", db_index=True, max_length=64),
        ),
        migrations.AddField(
            model_name="slowtransaction",
            name="trace_id",
            field=models.CharField(blank=True, db_default="", db_index=True, max_length=32),
        ),
        migrations.CreateModel(
            name="KeptWork",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("event_id", models.CharField(max_length=32, unique=True)),
                ("request_id", models.CharField(blank=True, db_default="", db_index=True, max_length=64)),
                ("trace_id", models.CharField(blank=True, db_default="", db_index=True, max_length=32)),
                ("moment", models.DateTimeField(db_index=True)),
                ("environment", models.CharField(max_length=64)),
                ("release", models.CharField(blank=True, max_length=200)),
                ("endpoint", models.CharField(blank=True, max_length=200)),
                ("body", models.BinaryField()),
                ("kind", models.CharField(max_length=64)),
                ("duration_ms", models.FloatField()),
                ("status", models.PositiveSmallIntegerField(null=True)),
                ("failed", models.BooleanField()),
                (
                    "reason",
                    models.CharField(
                        choices=[("failed", "failed"), ("slow", "slow"), ("sample", "sample")], max_length=12
                    ),
                ),
                ("user", models.CharField(blank=True, max_length=32)),
                ("size", models.PositiveIntegerField()),
            ],
            options={
                "verbose_name": "kept request",
                "verbose_name_plural": "kept requests",
                "ordering": ["-moment", "-id"],
                "indexes": [models.Index(fields=["endpoint", "moment"], name="crm_monitoring_work_alike")],
            },
        ),
    ]
