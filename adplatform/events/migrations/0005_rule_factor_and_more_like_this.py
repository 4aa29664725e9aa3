from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("events", "0004_what_a_decision_saw_and_feedback"),
    ]

    operations = [
        migrations.AddField(
            model_name="addecision",
            name="factor",
            field=models.FloatField(
                db_default=1.0, help_text="By how much operator's rules let its worth count in the choice"
            ),
        ),
        migrations.AlterField(
            model_name="feedback",
            name="kind",
            field=models.CharField(
                choices=[
                    ("not_interested", "Not interested"),
                    ("seen_too_often", "Seen too often"),
                    ("hide_advertiser", "Hide this advertiser"),
                    ("more_like_this", "More like this"),
                ],
                max_length=20,
            ),
        ),
    ]
