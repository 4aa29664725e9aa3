"""Facts stay as they were written but for one thing: columns that say whose they are may be emptied, and never filled.

The guard itself knows the exception, so that no role, key or switch opens more: not for the owner either. Who may try is
a matter of grants: the application's and the worker's role have no UPDATE on facts, the platform's login does it for
`retention` and `subject_erase`.
"""

from django.db import migrations

FUNCTION = """
CREATE FUNCTION events_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    was jsonb := to_jsonb(OLD);
    becomes jsonb;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        becomes := to_jsonb(NEW);
        IF becomes <> was AND becomes - TG_ARGV = was - TG_ARGV AND NOT EXISTS (
            SELECT 1 FROM unnest(TG_ARGV) AS name WHERE becomes ->> name NOT IN ('', was ->> name)
        ) THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION '% on % is refused: its rows are only ever added', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME;
END $$;
"""
PERSONAL = {
    "events_addecision": "'visitor', 'keywords'",
    "events_impression": "'visitor'",
    "events_view": "'visitor'",
    "events_click": "'visitor'",
    "events_conversion": "'visitor'",
    "events_feedback": "'visitor'",
}
GUARD = """
DROP TRIGGER {table}_is_append_only ON {table};
CREATE TRIGGER {table}_is_append_only BEFORE UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION {function};
"""


class Migration(migrations.Migration):
    dependencies = [
        ("events", "0010_credits_of_known_conversions"),
        ("billing", "0010_documents_are_final"),
    ]

    operations = [
        migrations.RunSQL("SET LOCAL lock_timeout = '5s'", migrations.RunSQL.noop),
        migrations.RunSQL(FUNCTION, "DROP FUNCTION events_refuse_change()"),
        *(
            migrations.RunSQL(
                GUARD.format(table=table, function=f"events_refuse_change({columns})"),
                GUARD.format(table=table, function="adplatform_refuse_change()"),
            )
            for table, columns in PERSONAL.items()
        ),
    ]
