"""An hour's sums grow with every batch: where half of a page is kept free the new version of a row lies beside the old one
and no index is written."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("events", "0013_the_click_that_a_conversion_named")]

    operations = [
        migrations.RunSQL("SET LOCAL lock_timeout = '5s'", migrations.RunSQL.noop),
        migrations.RunSQL(
            "ALTER TABLE events_hourlystat SET (fillfactor = 50)",
            "ALTER TABLE events_hourlystat RESET (fillfactor)",
        ),
    ]
