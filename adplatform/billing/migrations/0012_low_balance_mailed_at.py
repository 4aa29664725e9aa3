"""Whether an advertiser was told that little money is left; those who are known were."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0011_sealed_bank_details")]

    operations = [
        migrations.AddField("lowbalance", "mailed_at", models.DateTimeField(blank=True, null=True)),
        migrations.RunSQL("UPDATE billing_lowbalance SET mailed_at = since", migrations.RunSQL.noop),
    ]
