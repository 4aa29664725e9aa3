from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("events", "0012_reports_wait_to_be_added"),
    ]

    operations = [
        migrations.RunSQL("SET LOCAL lock_timeout = '5s'", migrations.RunSQL.noop),
        migrations.AddField(
            model_name="conversion",
            name="names_click",
            field=models.BooleanField(
                db_default=False, help_text="The decision is that of the click which the report named"
            ),
        ),
    ]
