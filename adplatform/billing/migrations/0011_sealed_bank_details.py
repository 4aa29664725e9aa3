"""Bank details and invoice addresses are sealed in the database; what is there already is sealed here."""

from django.db import migrations

import adplatform.core.encrypted
from adplatform.core.sealing import place, seal, unseal

COLUMNS = {"billing_payee": ("holder", "iban", "bic"), "billing_billingprofile": ("address",)}


def each(schema_editor, change):
    with schema_editor.connection.cursor() as cursor:
        for table, columns in COLUMNS.items():
            for column in columns:
                cursor.execute(f"SELECT organisation_id, {column} FROM {table} WHERE {column} <> ''")  # noqa: S608
                for row, value in cursor.fetchall():
                    new = change(value, where=place(table, column, row))
                    cursor.execute(f"UPDATE {table} SET {column} = %s WHERE organisation_id = %s", [new, row])  # noqa: S608


def seal_all(_apps, schema_editor):
    each(schema_editor, seal)


def open_all(_apps, schema_editor):
    each(schema_editor, unseal)


class Migration(migrations.Migration):
    dependencies = [("billing", "0010_documents_are_final")]

    operations = [
        migrations.AlterField(
            "billingprofile", "address", adplatform.core.encrypted.EncryptedTextField(max_length=400)
        ),
        migrations.AlterField(
            "payee", "bic", adplatform.core.encrypted.EncryptedTextField(blank=True, max_length=11)
        ),
        migrations.AlterField("payee", "holder", adplatform.core.encrypted.EncryptedTextField(max_length=70)),
        migrations.AlterField("payee", "iban", adplatform.core.encrypted.EncryptedTextField(max_length=34)),
        migrations.RunPython(seal_all, open_all),
    ]
