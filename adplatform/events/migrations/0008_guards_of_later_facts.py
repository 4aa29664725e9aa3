"""Later findings and adjustments are facts like the others: added, never changed. Checkers see what holds in the end."""

from django.db import migrations

TABLES = ("events_invalidation", "events_adjustment")
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
EVENT = """
    SELECT '{letter}:' || e.decision_id AS event_id, '{kind}' AS kind, e.decision_id, e.campaign_id, e.advertiser_id,
        {columns}, e.served_at, e.source FROM events_{kind} e {join}
"""
AS_STORED = "e.is_billable AS billable, e.reason, e.charge_micros"
AS_IT_HOLDS = (
    "e.is_billable AND x.decision_id IS NULL AS billable, coalesce(x.reason, e.reason) AS reason, "
    "CASE WHEN x.decision_id IS NULL THEN e.charge_micros ELSE 0 END AS charge_micros"
)
FOUND_LATER = "LEFT JOIN events_invalidation x ON x.decision_id = e.decision_id AND x.kind = '{kind}'"
CONVERSION = """
    SELECT 'x:' || c.action_id || ':' || c.event_id, 'conversion', c.decision_id, c.campaign_id, a.organisation_id,
        false, 'conversions_cost_nothing', 0::bigint, c.occurred_at, c.source
    FROM events_conversion c JOIN events_conversionaction a ON a.id = c.action_id
"""


def view(columns: str, join: str) -> str:
    kinds = (("i", "impression"), ("v", "view"), ("c", "click"))
    events = (
        EVENT.format(letter=letter, kind=kind, columns=columns, join=join.format(kind=kind))
        for letter, kind in kinds
    )
    return "CREATE OR REPLACE VIEW audit_event AS " + " UNION ALL ".join((*events, CONVERSION)) + ";"


class Migration(migrations.Migration):
    dependencies = [
        ("events", "0007_later_findings_adjustments_and_credits"),
        ("billing", "0008_feedback_is_append_only"),
    ]

    operations = [
        *(migrations.RunSQL(GUARD.format(table=table), DROP.format(table=table)) for table in TABLES),
        migrations.RunSQL(view(AS_IT_HOLDS, FOUND_LATER), view(AS_STORED, "")),
    ]
