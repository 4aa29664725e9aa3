"""What visitors said is a fact like the others: added, never changed."""

from django.db import migrations

TABLE = "events_feedback"
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
    dependencies = [
        ("billing", "0007_names_in_words"),
        ("events", "0004_what_a_decision_saw_and_feedback"),
    ]

    operations = [migrations.RunSQL(GUARD.format(table=TABLE), DROP.format(table=TABLE))]
