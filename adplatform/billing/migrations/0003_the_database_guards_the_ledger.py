"""What the database itself refuses, whoever asks (docs/money.md lists every refusal with its name).

A posting is checked when its transaction commits: at least two entries, zero sum per currency, and a hash that covers
it, its entries and the posting before. Its entries come in one statement; a later pair is refused, so that a posting
is sealed by being written. Checks over rows of one statement are set-based: bulk posting stays fast.
"""

from django.db import migrations

# Tests empty tables between them: in a database called test_…, by a session that asks for it, TRUNCATE is let through.
REFUSE_CHANGES = r"""
CREATE FUNCTION adplatform_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on % is refused: its rows are only ever added', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME;
END $$;

CREATE FUNCTION adplatform_refuse_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_database() LIKE 'test\_%' AND current_setting('adplatform.maintenance', true) = 'on' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'TRUNCATE on % is refused: its rows are only ever added', TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME;
END $$;
"""

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
LEDGER = ("billing_ledgeraccount", "billing_posting", "billing_entry")

POSTINGS = r"""
-- Every writer waits for the one before: the chain has one end. 7236454 is billing.ledger's LOCK.
CREATE FUNCTION billing_lock_chain() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(7236454);
    RETURN NULL;
END $$;
CREATE TRIGGER billing_posting_waits_its_turn BEFORE INSERT ON billing_posting
    FOR EACH STATEMENT EXECUTE FUNCTION billing_lock_chain();

CREATE FUNCTION billing_check_chain() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    first_id bigint := (SELECT min(id) FROM new_postings);
    broken bigint;
BEGIN
    IF EXISTS (SELECT 1 FROM billing_posting p WHERE p.id > first_id AND p.id NOT IN (SELECT id FROM new_postings)) THEN
        RAISE EXCEPTION 'posting % would stand before an older one', first_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'posting_continues_the_chain';
    END IF;
    SELECT id INTO broken FROM (
        SELECT id, previous_sha256, coalesce(
            lag(row_sha256) OVER (ORDER BY id),
            (SELECT p.row_sha256 FROM billing_posting p WHERE p.id < first_id ORDER BY p.id DESC LIMIT 1),
            repeat('0', 64)
        ) AS expected FROM new_postings
    ) AS links WHERE previous_sha256 <> expected ORDER BY id LIMIT 1;
    IF broken IS NOT NULL THEN
        RAISE EXCEPTION 'posting % does not continue the hash chain', broken
            USING ERRCODE = 'check_violation', CONSTRAINT = 'posting_continues_the_chain';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER billing_posting_continues_the_chain AFTER INSERT ON billing_posting
    REFERENCING NEW TABLE AS new_postings FOR EACH STATEMENT EXECUTE FUNCTION billing_check_chain();

CREATE FUNCTION billing_check_posting() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    entries integer;
    lines text;
    unbalanced text;
BEGIN
    SELECT count(*), string_agg(account_id || ':' || currency || ':' || micros, ',' ORDER BY account_id, micros)
        INTO entries, lines FROM billing_entry WHERE posting_id = NEW.id;
    IF entries < 2 THEN
        RAISE EXCEPTION 'posting % has % entries, not two or more', NEW.key, entries
            USING ERRCODE = 'check_violation', CONSTRAINT = 'posting_has_two_entries';
    END IF;
    SELECT currency INTO unbalanced FROM billing_entry WHERE posting_id = NEW.id
        GROUP BY currency HAVING sum(micros) <> 0 LIMIT 1;
    IF unbalanced IS NOT NULL THEN
        RAISE EXCEPTION 'posting % does not add up to zero in %', NEW.key, unbalanced
            USING ERRCODE = 'check_violation', CONSTRAINT = 'posting_is_balanced';
    END IF;
    -- The same text as billing.ledger.row_hash.
    IF NEW.row_sha256 <> encode(sha256(convert_to(concat_ws(E'\x1f',
        NEW.previous_sha256, NEW.key, NEW.kind, NEW.request_sha256, NEW.memo, coalesce(NEW.reverses_id::text, ''),
        (extract(epoch FROM NEW.posted_at) * 1000000)::bigint, (extract(epoch FROM NEW.effective_at) * 1000000)::bigint,
        lines), 'UTF8')), 'hex')
    THEN
        RAISE EXCEPTION 'posting % does not carry its own hash', NEW.key
            USING ERRCODE = 'check_violation', CONSTRAINT = 'posting_carries_its_hash';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER billing_posting_is_sound AFTER INSERT ON billing_posting
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION billing_check_posting();
"""
DROP_POSTINGS = """
DROP TRIGGER billing_posting_is_sound ON billing_posting;
DROP TRIGGER billing_posting_continues_the_chain ON billing_posting;
DROP TRIGGER billing_posting_waits_its_turn ON billing_posting;
DROP FUNCTION billing_check_posting();
DROP FUNCTION billing_check_chain();
DROP FUNCTION billing_lock_chain();
"""

# SECURITY DEFINER: who may add entries need not be allowed to touch a balance, and nobody may by hand.
ENTRIES = r"""
CREATE FUNCTION billing_take_entries() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    wrong bigint;
BEGIN
    SELECT n.posting_id INTO wrong FROM (SELECT posting_id, count(*) AS entries FROM new_entries GROUP BY posting_id) AS n
        WHERE n.entries <> (SELECT count(*) FROM billing_entry e WHERE e.posting_id = n.posting_id) LIMIT 1;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'posting % is sealed: its entries were written before', wrong
            USING ERRCODE = 'check_violation', CONSTRAINT = 'posting_is_sealed';
    END IF;
    SELECT n.posting_id INTO wrong FROM new_entries n JOIN billing_ledgeraccount a ON a.id = n.account_id
        WHERE a.currency <> n.currency LIMIT 1;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'posting % has an entry in another currency than its account', wrong
            USING ERRCODE = 'check_violation', CONSTRAINT = 'entry_has_the_currency_of_its_account';
    END IF;
    INSERT INTO billing_balance AS b (account_id, micros, settled_micros)
        SELECT n.account_id, sum(n.micros), coalesce(sum(n.micros) FILTER (WHERE p.kind = 'settle'), 0)
        FROM new_entries n JOIN billing_posting p ON p.id = n.posting_id GROUP BY n.account_id ORDER BY n.account_id
        ON CONFLICT (account_id) DO UPDATE
        SET micros = b.micros + excluded.micros, settled_micros = b.settled_micros + excluded.settled_micros;
    RETURN NULL;
END $$;
CREATE TRIGGER billing_entry_reaches_its_balance AFTER INSERT ON billing_entry
    REFERENCING NEW TABLE AS new_entries FOR EACH STATEMENT EXECUTE FUNCTION billing_take_entries();

CREATE FUNCTION billing_guard_balance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_trigger_depth() < 2 THEN  -- not called by billing_take_entries
        RAISE EXCEPTION '% on billing_balance is refused: entries change a balance', TG_OP
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'balance_follows_entries';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER billing_balance_follows_entries BEFORE INSERT OR UPDATE OR DELETE ON billing_balance
    FOR EACH ROW EXECUTE FUNCTION billing_guard_balance();
CREATE TRIGGER billing_balance_is_not_truncated BEFORE TRUNCATE ON billing_balance
    FOR EACH STATEMENT EXECUTE FUNCTION adplatform_refuse_truncate();

CREATE FUNCTION billing_check_overdraft() RETURNS trigger LANGUAGE plpgsql AS $$
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
CREATE CONSTRAINT TRIGGER billing_balance_is_not_overdrawn AFTER INSERT OR UPDATE ON billing_balance
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION billing_check_overdraft();
"""
DROP_ENTRIES = """
DROP TRIGGER billing_balance_is_not_overdrawn ON billing_balance;
DROP TRIGGER billing_balance_is_not_truncated ON billing_balance;
DROP TRIGGER billing_balance_follows_entries ON billing_balance;
DROP TRIGGER billing_entry_reaches_its_balance ON billing_entry;
DROP FUNCTION billing_check_overdraft();
DROP FUNCTION billing_guard_balance();
DROP FUNCTION billing_take_entries();
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0002_balance")]

    operations = [
        migrations.RunSQL("SET LOCAL lock_timeout = '5s'", migrations.RunSQL.noop),
        migrations.RunSQL(
            REFUSE_CHANGES, "DROP FUNCTION adplatform_refuse_change(); DROP FUNCTION adplatform_refuse_truncate();"
        ),
        *[migrations.RunSQL(APPEND_ONLY.format(table=table), DROP_APPEND_ONLY.format(table=table)) for table in LEDGER],
        migrations.RunSQL(POSTINGS, DROP_POSTINGS),
        migrations.RunSQL(ENTRIES, DROP_ENTRIES),
    ]
