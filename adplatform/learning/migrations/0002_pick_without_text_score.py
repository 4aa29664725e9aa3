from django.db import migrations, models


class Migration(migrations.Migration):
    """An ad without a vector is picked by its statistics: it has no text score."""

    dependencies = [("learning", "0001_initial")]

    operations = [
        migrations.AlterField(
            model_name="pick",
            name="text_score",
            field=models.FloatField(help_text="Empty where the ad has no vector", null=True),
        ),
    ]
