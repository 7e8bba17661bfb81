"""`pgsearch doctor`: what is not as it should be, and the operations that mend it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from textwrap import indent
from typing import TYPE_CHECKING, Any

import click

from pgsearch.cli import console

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgsearch.database import Connection
    from pgsearch.definition import IndexDefinition
    from pgsearch.drift import Finding, Inspection


@dataclass(frozen=True)
class Diagnosis:
    """One search index, or the schema `pgsearch`, as the doctor sees it.

    Args:
        index: The search index as people write it; None for the schema.
        table: Its table.
        findings: What is not as pgsearch would make it.
        code: The operations that mend them, as Python for a migration.
        parked: Rows on which the model failed for good.
        last_error: What it said of the row that was parked last.
        release: The command that lets the parked rows be tried again.
    """

    index: str | None
    table: str | None
    findings: tuple[Finding, ...]
    code: str
    parked: int = 0
    last_error: str | None = None
    release: str | None = None


@click.command()
@click.argument("indexes", nargs=-1, metavar="[INDEX]...")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per search index.")
@click.pass_context
def command(context: click.Context, indexes: tuple[str, ...], as_json: bool) -> None:
    """Look for what is not as it should be; print the operations that mend it.

    Triggers that were dropped or disabled, functions that were edited, indexes that are missing
    or INVALID: whatever differs from what pgsearch would make. Only looks. Without an INDEX, all
    of them are looked at. The exit status is 1 if anything was found.
    """
    from pgsearch import database
    from pgsearch.drift import inspect

    uri = console.use_database(context.obj)
    # The settings that it needs are the transaction's: a session may be a pooler's.
    with (
        database.connect(uri, row_security=True) as connection,
        database.transaction(connection),
    ):
        inspection = inspect(lambda query: connection.execute(query.encode()).fetchall(), *indexes)
        diagnoses = list(_diagnoses(connection, inspection))
    if as_json:
        _print_json(diagnoses)
    elif not diagnoses:
        click.echo("There is no search index yet.")
    else:
        for diagnosis in diagnoses:
            click.echo("\n".join(_lines(diagnosis)))
    if any(diagnosis.findings or diagnosis.parked for diagnosis in diagnoses):
        context.exit(1)


def _diagnoses(connection: Connection, inspection: Inspection) -> Iterator[Diagnosis]:
    from pgsearch.alembic.mend import mends
    from pgsearch.alembic.render import code

    if inspection.schema:
        yield Diagnosis(None, None, inspection.schema, code(*mends(inspection.schema)))
    default_schema = _default_schema(connection)
    for index in inspection.indexes:
        definition = index.definition
        parked, last_error = _parked(connection, definition)
        yield Diagnosis(
            _name(definition.schema, definition.name),
            _name(definition.schema, definition.table),
            index.findings,
            code(*mends(index.findings, default_schema=default_schema)),
            parked,
            last_error,
            _release(definition) if parked else None,
        )


def _name(schema: str, name: str) -> str:
    return name if schema == "public" else f"{schema}.{name}"


def _default_schema(connection: Connection) -> str:
    row = connection.execute("SELECT current_schema()").fetchone()
    return str(row[0]) if row and row[0] else "public"


def _parked(connection: Connection, definition: IndexDefinition) -> tuple[int, str | None]:
    """Return how many rows are parked, and the error of the last; none if that cannot be read."""
    import psycopg
    from psycopg.sql import SQL, Identifier

    from pgsearch import resources

    queue = Identifier(definition.schema, definition.names.queue)
    query = SQL(resources.sql("registry/parked.sql")).format(queue=queue)
    try:
        with connection.transaction():
            row = connection.execute(query).fetchone()
    except (
        psycopg.errors.UndefinedTable,
        psycopg.errors.UndefinedColumn,
        psycopg.errors.InsufficientPrivilege,
    ):
        return 0, None  # it is damaged, which is a finding, or not for this role to read
    assert row is not None
    return row[0], row[1]


def _release(definition: IndexDefinition) -> str:
    return f"pgsearch retry {shlex.quote(_name(definition.schema, definition.name))}"


def _lines(diagnosis: Diagnosis) -> Iterator[str]:
    about = (
        "The schema pgsearch"
        if diagnosis.index is None
        else f"{diagnosis.index} on {diagnosis.table}"
    )
    if not diagnosis.findings and not diagnosis.parked:
        yield f"{about}: nothing to mend"
        return
    yield f"{about}:"
    for finding in diagnosis.findings:
        yield f"  {finding}"
        if finding.hint:
            yield f"    {finding.hint}"
    if diagnosis.parked:
        rows = "1 row is" if diagnosis.parked == 1 else f"{diagnosis.parked:,} rows are"
        yield f"  {rows} parked, on which the model failed; of the last one it said:"
        yield f"    {diagnosis.last_error}"
    if diagnosis.code:
        yield from ("", "In a migration, this mends it:", "")
        yield from (indent(diagnosis.code, "    "), "")
    if diagnosis.release:
        yield from ("", "When the cause is mended, this lets the parked rows be tried again:", "")
        yield from (f"    {diagnosis.release}", "")


def _print_json(diagnoses: list[Diagnosis]) -> None:
    import json

    for diagnosis in diagnoses:
        found: dict[str, Any] = {
            "index": diagnosis.index,
            "table": diagnosis.table,
            "findings": [
                {
                    "object": finding.object,
                    "problem": finding.problem,
                    "mend": finding.mend.name.lower(),
                    "embedding": finding.embedding and finding.embedding.name,
                    "hint": finding.hint,
                }
                for finding in diagnosis.findings
            ],
            "code": diagnosis.code,
            "parked": diagnosis.parked,
            "last_error": diagnosis.last_error,
        }
        click.echo(json.dumps(found, ensure_ascii=False))
