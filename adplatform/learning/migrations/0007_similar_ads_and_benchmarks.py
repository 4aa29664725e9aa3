from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("learning", "0006_influence_of_line_items"),
    ]

    operations = [
        migrations.CreateModel(
            name="CategoryBenchmark",
            fields=[
                ("category", models.CharField(max_length=60, primary_key=True, serialize=False)),
                ("computed_at", models.DateTimeField()),
                ("advertisers", models.PositiveIntegerField()),
                ("creatives", models.PositiveIntegerField()),
                ("impressions", models.BigIntegerField()),
                ("clicks", models.BigIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name="SimilarAds",
            fields=[
                ("creative_id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("encoder", models.CharField(max_length=120)),
                ("computed_at", models.DateTimeField()),
                ("own", models.JSONField(default=list)),
                ("reviewed", models.JSONField(default=list)),
                ("running", models.PositiveIntegerField(default=0)),
                ("advertisers", models.PositiveIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name="CategorySuggestion",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(choices=[("campaign", "Campaign"), ("site", "Site")], max_length=10),
                ),
                ("object_id", models.BigIntegerField()),
                ("category", models.CharField(max_length=60)),
                ("cosine", models.FloatField()),
                ("computed_at", models.DateTimeField()),
            ],
            options={
                "ordering": ["-cosine", "pk"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("kind", "object_id"), name="one_suggestion_per_campaign_or_site"
                    )
                ],
            },
        ),
    ]
