import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_names_in_words"),
        ("campaigns", "0003_annotations"),
        ("inventory", "0002_category_graph"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="OperatorRule",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("public_id", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                (
                    "action",
                    models.CharField(
                        choices=[
                            ("forbid", "Forbid"),
                            ("limit", "Limit the share"),
                            ("multiply", "Multiply the worth"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "share_bp",
                    models.PositiveIntegerField(
                        default=0, help_text="Of the decisions there, in basis points"
                    ),
                ),
                ("factor", models.FloatField(default=1.0)),
                (
                    "category",
                    models.CharField(
                        blank=True, help_text="Of campaigns, and what lies below it", max_length=60
                    ),
                ),
                (
                    "words",
                    models.CharField(
                        blank=True, help_text="Of ads: any of them, divided by commas", max_length=300
                    ),
                ),
                (
                    "topic",
                    models.CharField(
                        blank=True, help_text="Category of sites, and what lies below it", max_length=60
                    ),
                ),
                (
                    "least_related",
                    models.FloatField(
                        blank=True,
                        help_text="Also categories that are related by at least this weight",
                        null=True,
                    ),
                ),
                ("start_at", models.DateTimeField()),
                ("end_at", models.DateTimeField(blank=True, null=True)),
                ("stopped_at", models.DateTimeField(blank=True, null=True)),
                ("reason", models.CharField(max_length=500)),
                (
                    "forecast",
                    models.JSONField(default=dict, help_text="The effect that was shown before it was saved"),
                ),
                (
                    "advertiser",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="accounts.organisation",
                    ),
                ),
                (
                    "created_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "site",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="inventory.site",
                    ),
                ),
                (
                    "slot",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="inventory.adslot",
                    ),
                ),
            ],
            options={
                "ordering": ["-created_at", "-pk"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("share_bp__lte", 10000)), name="a_rule_limits_to_at_most_all"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("factor__gte", 0.1), ("factor__lte", 3)),
                        name="a_rule_multiplies_within_its_bounds",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("end_at__isnull", True), ("end_at__gt", models.F("start_at")), _connector="OR"
                        ),
                        name="a_rule_ends_after_it_starts",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("advertiser__isnull", False),
                            ("site__isnull", False),
                            ("slot__isnull", False),
                            models.Q(("category", ""), _negated=True),
                            models.Q(("words", ""), _negated=True),
                            models.Q(("topic", ""), _negated=True),
                            _connector="OR",
                        ),
                        name="a_rule_names_something",
                    ),
                ],
            },
        ),
    ]
