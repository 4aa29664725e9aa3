"""What was issued or paid stays as it was; numbers have no gap; credit widens the purse (docs/money.md names each rule)."""

from django.db import migrations

FINAL = ("billing_invoice", "billing_invoiceline", "billing_creditlimit", "billing_payout")
APPEND_ONLY = """
CREATE TRIGGER {table}_is_append_only BEFORE UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION adplatform_refuse_change();
CREATE TRIGGER {table}_is_not_truncated BEFORE TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION adplatform_refuse_truncate();
"""
DROP_APPEND_ONLY = """
DROP TRIGGER {table}_is_append_only ON {table};
DROP TRIGGER {table}_is_not_truncated ON {table};
"""

OVERDRAFT = r"""
CREATE OR REPLACE FUNCTION billing_check_overdraft() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    held bigint;
    kind text;
    credit bigint;
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.micros >= OLD.micros THEN
        RETURN NULL;  -- money came: also to an account whose credit was taken back meanwhile
    END IF;
    SELECT b.micros, a.kind, coalesce((SELECT c.micros FROM billing_creditlimit c
            WHERE c.organisation_id = a.owner_id ORDER BY c.id DESC LIMIT 1), 0)
        INTO held, kind, credit
        FROM billing_balance b JOIN billing_ledgeraccount a ON a.id = b.account_id WHERE b.account_id = NEW.account_id;
    IF kind = 'prepaid' AND held < -credit THEN
        RAISE EXCEPTION 'account % would be overdrawn by % micros', NEW.account_id, -held - credit
            USING ERRCODE = 'check_violation', CONSTRAINT = 'prepaid_is_not_overdrawn';
    END IF;
    IF kind IN ('held', 'transit') AND held < 0 THEN
        RAISE EXCEPTION 'account % would give % micros that it does not hold', NEW.account_id, -held
            USING ERRCODE = 'check_violation', CONSTRAINT = 'what_is_set_aside_is_there';
    END IF;
    RETURN NULL;
END $$;
"""
OVERDRAFT_BEFORE = r"""
CREATE OR REPLACE FUNCTION billing_check_overdraft() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    held bigint;
BEGIN
    SELECT b.micros INTO held FROM billing_balance b JOIN billing_ledgeraccount a ON a.id = b.account_id
        WHERE b.account_id = NEW.account_id AND a.kind = 'prepaid';
    IF held < 0 THEN
        RAISE EXCEPTION 'account % would be overdrawn by % micros', NEW.account_id, -held
            USING ERRCODE = 'check_violation', CONSTRAINT = 'prepaid_is_not_overdrawn';
    END IF;
    RETURN NULL;
END $$;
"""

INVOICES = r"""
CREATE FUNCTION billing_check_number() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    latest integer;
BEGIN
    -- 7236455 is billing.invoices' LOCK: numbers are given one after the other.
    PERFORM pg_advisory_xact_lock(7236455);
    SELECT coalesce(max(number), 0) INTO latest FROM billing_invoice WHERE series = NEW.series;
    IF NEW.number <> latest + 1 THEN
        RAISE EXCEPTION 'number % of series % would not follow %', NEW.number, NEW.series, latest
            USING ERRCODE = 'check_violation', CONSTRAINT = 'invoice_numbers_have_no_gap';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER billing_invoice_numbers_have_no_gap BEFORE INSERT ON billing_invoice
    FOR EACH ROW EXECUTE FUNCTION billing_check_number();

CREATE FUNCTION billing_check_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wanted billing_invoice%ROWTYPE;
    lines integer;
    micros bigint;
BEGIN
    IF TG_TABLE_NAME = 'billing_invoice' THEN
        SELECT * INTO wanted FROM billing_invoice WHERE id = NEW.id;
    ELSE
        SELECT * INTO wanted FROM billing_invoice WHERE id = NEW.invoice_id;
    END IF;
    SELECT count(*), coalesce(sum(l.micros), 0) INTO lines, micros FROM billing_invoiceline l WHERE l.invoice_id = wanted.id;
    IF lines <> wanted.line_count OR micros <> wanted.exact_micros THEN
        RAISE EXCEPTION 'invoice % says % lines of % micros, it has % of %',
            wanted.id, wanted.line_count, wanted.exact_micros, lines, micros
            USING ERRCODE = 'check_violation', CONSTRAINT = 'invoice_equals_its_lines';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER billing_invoice_equals_its_lines AFTER INSERT ON billing_invoice
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION billing_check_invoice();
CREATE CONSTRAINT TRIGGER billing_invoiceline_belongs_to_its_sum AFTER INSERT ON billing_invoiceline
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION billing_check_invoice();

CREATE FUNCTION billing_check_refunds() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    paid bigint;
    back bigint;
BEGIN
    SELECT p.micros INTO paid FROM billing_payment p WHERE p.id = NEW.payment_id AND p.status = 'arrived' FOR UPDATE;
    SELECT coalesce(sum(r.micros), 0) INTO back FROM billing_refund r
        WHERE r.payment_id = NEW.payment_id AND r.state <> 'failed';
    IF back > coalesce(paid, 0) THEN
        RAISE EXCEPTION 'refunds of % micros exceed the payment of %', back, coalesce(paid, 0)
            USING ERRCODE = 'check_violation', CONSTRAINT = 'refunds_do_not_exceed_the_payment';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER billing_refund_does_not_exceed_the_payment AFTER INSERT OR UPDATE ON billing_refund
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION billing_check_refunds();
"""
DROP_INVOICES = """
DROP TRIGGER billing_refund_does_not_exceed_the_payment ON billing_refund;
DROP FUNCTION billing_check_refunds();
DROP TRIGGER billing_invoiceline_belongs_to_its_sum ON billing_invoiceline;
DROP TRIGGER billing_invoice_equals_its_lines ON billing_invoice;
DROP FUNCTION billing_check_invoice();
DROP TRIGGER billing_invoice_numbers_have_no_gap ON billing_invoice;
DROP FUNCTION billing_check_number();
"""

VIEWS = """
CREATE VIEW audit_invoice AS
    SELECT i.series || '-' || lpad(i.number::text, 6, '0') AS number, i.kind, o.name AS owner, i.month, i.currency,
        i.exact_micros, i.net_micros, i.tax_micros, i.total_micros, i.issued_at, i.posting_id
    FROM billing_invoice i JOIN accounts_organisation o ON o.id = i.organisation_id;
CREATE VIEW audit_payout AS
    SELECT p.reference, o.name AS owner, b.currency, p.micros, b.state, b.prepared_at, b.approved_at, b.ended_at,
        p.posting_id
    FROM billing_payout p JOIN billing_payoutbatch b ON b.id = p.batch_id
    JOIN accounts_organisation o ON o.id = p.organisation_id;
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0009_life_of_an_account")]

    operations = [
        migrations.RunSQL("SET LOCAL lock_timeout = '5s'", migrations.RunSQL.noop),
        *[migrations.RunSQL(APPEND_ONLY.format(table=table), DROP_APPEND_ONLY.format(table=table)) for table in FINAL],
        migrations.RunSQL(OVERDRAFT, OVERDRAFT_BEFORE),
        migrations.RunSQL(INVOICES, DROP_INVOICES),
        migrations.RunSQL(VIEWS, "DROP VIEW audit_payout; DROP VIEW audit_invoice;"),
    ]
