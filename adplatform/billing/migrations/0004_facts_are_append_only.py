"""Facts are added and never changed: what was billed must stay what was seen."""

from django.db import migrations

FACTS = ("events_addecision", "events_impression", "events_view", "events_click", "events_conversion")
GUARD = """
CREATE TRIGGER {table}_is_append_only BEFORE UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION adplatform_refuse_change();
CREATE TRIGGER {table}_is_not_truncated BEFORE TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION adplatform_refuse_truncate();
"""
DROP = """
DROP TRIGGER {table}_is_append_only ON {table};
DROP TRIGGER {table}_is_not_truncated ON {table};
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0003_the_database_guards_the_ledger"), ("events", "0001_initial")]

    operations = [
        migrations.RunSQL("SET LOCAL lock_timeout = '5s'", migrations.RunSQL.noop),
        *[migrations.RunSQL(GUARD.format(table=table), DROP.format(table=table)) for table in FACTS],
    ]
