"""Conversions that were credited before credits were kept: what the statistics hold of them is their last click."""

from django.db import migrations

INSERT = """
INSERT INTO events_credit (conversion_id, model, touch, decision_id, slot_id, publisher_id, advertiser_id, campaign_id,
    line_item_id, creative_id, currency, source, hour, share_ppm, value_micros)
SELECT c.id, 'last_click', c.attribution, c.decision_id, c.slot_id, c.publisher_id, a.organisation_id, c.campaign_id,
    c.line_item_id, c.creative_id, c.currency, c.source, date_trunc('hour', c.occurred_at, 'UTC'), 1000000, c.value_micros
FROM events_conversion c JOIN events_conversionaction a ON a.id = c.action_id
WHERE c.attribution = 'click' AND c.decision_id IS NOT NULL AND c.source <> 'import'
ON CONFLICT DO NOTHING
"""


class Migration(migrations.Migration):
    dependencies = [("events", "0009_what_became_of_opportunities")]

    operations = [migrations.RunSQL(INSERT, "DELETE FROM events_credit")]
