from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("events", "0011_personal_columns_may_be_emptied"),
    ]

    operations = [
        migrations.RunSQL("SET LOCAL lock_timeout = '5s'", migrations.RunSQL.noop),
        migrations.AddField(
            model_name="tallyreport",
            name="waiting",
            field=models.BinaryField(
                db_default=b"", help_text="The report as it travelled, until it is added; then nothing"
            ),
        ),
        migrations.AddIndex(
            model_name="tallyreport",
            index=models.Index(
                condition=models.Q(("waiting", b""), _negated=True), fields=["id"], name="report_waiting"
            ),
        ),
        # An hour's row is written once a minute: with room on its page no index hears of it.
        migrations.RunSQL(
            "ALTER TABLE events_deliveryhour SET (fillfactor = 50)",
            "ALTER TABLE events_deliveryhour RESET (fillfactor)",
        ),
    ]
