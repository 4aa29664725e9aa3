"""Whom issued invoices name and where payouts went is sealed, what is there already too (billing/papers.py).

Both tables stay as they are for everybody, except that their sealed column may be sealed anew.
"""

import hashlib
import json
import secrets

from django.db import migrations, models

import adplatform.core.encrypted
from adplatform.core.sealing import place, seal, unseal

# table: (column of the sealed text, of its digest, what it is made of)
PAPERS = {
    "billing_invoice": ("sealed_buyer", "buyer_sha256", "buyer"),
    "billing_payout": ("sealed_account", "account_sha256", "jsonb_build_object('holder', holder, 'iban', iban, 'bic', bic)"),
}
PROFILE = ("legal_name", "vat_id")

FUNCTION = """
CREATE FUNCTION adplatform_refuse_change_but_sealing() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND to_jsonb(NEW) - TG_ARGV[0] = to_jsonb(OLD) - TG_ARGV[0]
        AND starts_with(to_jsonb(NEW) ->> TG_ARGV[0], 'enc1.') AND starts_with(to_jsonb(OLD) ->> TG_ARGV[0], 'enc1.')
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION '% on % is refused: its rows are only ever added', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME;
END $$;
"""
GUARD = """
CREATE TRIGGER {table}_is_append_only BEFORE UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION {function};
"""


def unguard(table):
    return f"DROP TRIGGER {table}_is_append_only ON {table};"


def guard_all(column_of):
    return "".join(GUARD.format(table=table, function=column_of(PAPERS[table][0])) for table in PAPERS)


def rows(cursor, sql):
    cursor.execute(sql)
    return cursor.fetchall()


def seal_all(_apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        for table, (column, digest, words) in PAPERS.items():
            for pk, said in rows(cursor, f"SELECT id, ({words})::text FROM {table}"):  # noqa: S608 - our names
                text = json.dumps({**json.loads(said), "salt": secrets.token_hex(16)}, sort_keys=True)
                sealed = seal(text, where=place(table, column, pk))
                cursor.execute(
                    f"UPDATE {table} SET {column} = %s, {digest} = %s WHERE id = %s",  # noqa: S608
                    [sealed, hashlib.sha256(text.encode()).hexdigest(), pk],
                )
        change_profiles(cursor, seal)


def open_all(_apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        for table, (column, _, words) in PAPERS.items():
            for pk, sealed in rows(cursor, f"SELECT id, {column} FROM {table}"):  # noqa: S608
                said = json.loads(unseal(sealed, where=place(table, column, pk)))
                del said["salt"]
                values = {"buyer": json.dumps(said)} if words == "buyer" else said
                columns = ", ".join(f"{name} = %s" for name in values)
                cursor.execute(f"UPDATE {table} SET {columns} WHERE id = %s", [*values.values(), pk])  # noqa: S608
        change_profiles(cursor, unseal)


def change_profiles(cursor, change):
    table = "billing_billingprofile"
    for column in PROFILE:
        for pk, value in rows(cursor, f"SELECT organisation_id, {column} FROM {table} WHERE {column} <> ''"):  # noqa: S608
            new = change(value, where=place(table, column, pk))
            cursor.execute(f"UPDATE {table} SET {column} = %s WHERE organisation_id = %s", [new, pk])  # noqa: S608
    cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # nothing of it may wait where columns are changed next


def sealed_field(**options):
    return adplatform.core.encrypted.EncryptedTextField(**options)


class Migration(migrations.Migration):
    dependencies = [("billing", "0012_low_balance_mailed_at")]

    operations = [
        migrations.RunSQL("SET LOCAL lock_timeout = '5s'", migrations.RunSQL.noop),
        migrations.RunSQL(FUNCTION, "DROP FUNCTION adplatform_refuse_change_but_sealing();"),
        migrations.RunSQL(
            "".join(map(unguard, PAPERS)), guard_all(lambda _: "adplatform_refuse_change()")
        ),
        migrations.AddField("invoice", "sealed_buyer", sealed_field(default=""), preserve_default=False),
        migrations.AddField("invoice", "buyer_sha256", models.CharField(max_length=64, default=""), preserve_default=False),
        migrations.AddField("payout", "sealed_account", sealed_field(default=""), preserve_default=False),
        migrations.AddField("payout", "account_sha256", models.CharField(max_length=64, default=""), preserve_default=False),
        # Removed columns come back empty when this is reversed.
        migrations.AlterField("payout", "holder", models.CharField(max_length=70, default="")),
        migrations.AlterField("payout", "iban", models.CharField(max_length=34, default="")),
        migrations.AlterField("billingprofile", "legal_name", sealed_field(max_length=120)),
        migrations.AlterField("billingprofile", "vat_id", sealed_field(max_length=20, blank=True)),
        migrations.RunPython(seal_all, open_all),
        migrations.RemoveField("invoice", "buyer"),
        migrations.RemoveField("payout", "holder"),
        migrations.RemoveField("payout", "iban"),
        migrations.RemoveField("payout", "bic"),
        migrations.RunSQL(
            guard_all(lambda column: f"adplatform_refuse_change_but_sealing('{column}')"),
            "".join(map(unguard, PAPERS)),
        ),
    ]
