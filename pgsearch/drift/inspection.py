"""Every search index of a database against what pgsearch would make."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from psycopg.sql import SQL, Literal

from pgsearch.definition import IndexDefinition
from pgsearch.drift import helpers, security
from pgsearch.drift.capture import Capture
from pgsearch.drift.finding import Finding, Mend
from pgsearch.drift.relations import Relations
from pgsearch.drift.subject import Run, Source, Subject, ask, read_source
from pgsearch.errors import NotInstalled, ObjectMissing
from pgsearch.schema.index import TEMPLATE_VERSION
from pgsearch.schema.parsed import parsed_objects


@dataclass(frozen=True)
class Inspected:
    """A search index that was looked at.

    Args:
        definition: Its definition, with the names that its table and columns have now.
        findings: What is wrong with it.
    """

    definition: IndexDefinition
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Inspection:
    """What was looked at, and what was found.

    Args:
        schema: What is wrong with the schema `pgsearch`.
        indexes: The search indexes.
    """

    schema: tuple[Finding, ...]
    indexes: tuple[Inspected, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All that was found."""
        return (*self.schema, *(f for index in self.indexes for f in index.findings))


def inspect(run: Run, *wanted: str) -> Inspection:
    """Compare search indexes with what pgsearch would make of their definitions.

    Nothing is written.

    Args:
        run: Runs a query without parameters and returns its rows; of any driver, for each query
            returns texts and numbers only.
        *wanted: Names, with or without schema; without any, all are inspected.

    Raises:
        NotInstalled: The schema `pgsearch` is absent.
        ObjectMissing: A name is not that of exactly one search index.
    """
    ((is_installed,),) = run("SELECT to_regclass('pgsearch.search_index') IS NOT NULL")
    if not is_installed:
        raise NotInstalled(
            "The schema pgsearch is not installed in this database.",
            hint="Is it the database that you meant? Migrations create it with "
            "op.pgsearch_install().",
        )
    registered = ask(run, "registered")
    states = [(IndexDefinition.from_json(s["definition"]), s) for s in registered["indexes"] or ()]
    chosen = [_named(states, name) for name in wanted] if wanted else states
    subjects = list(_subjects(run, chosen))
    return Inspection(
        schema=tuple(helpers.findings(run, registered["version"] or 0)),
        indexes=tuple(_inspect(run, subject) for subject in subjects),
    )


def _named(
    states: Sequence[tuple[IndexDefinition, dict[str, Any]]], name: str
) -> tuple[IndexDefinition, dict[str, Any]]:
    found = [(d, s) for d, s in states if name in (d.name, f"{d.schema}.{d.name}")]
    if len(found) == 1:
        return found[0]
    if found:
        schemas = ", ".join(f"{d.schema}.{d.name}" for d, _ in found)
        raise ObjectMissing(f"{name!r} names several search indexes.", hint=f"Write one: {schemas}")
    known = ", ".join(f"{d.schema}.{d.name}" for d, _ in states)
    raise ObjectMissing(
        f"There is no search index {name!r} in this database.",
        hint=f"There is: {known}." if known else "Create one with op.create_search_index().",
    )


def _subjects(
    run: Run, registered: Sequence[tuple[IndexDefinition, dict[str, Any]]]
) -> Iterator[Subject | IndexDefinition]:
    """Yield what is known of each search index; its definition where the table is gone."""
    sources = [read_source(run, definition) for definition, _ in registered]
    with _full_names(run):
        parsed = [
            {} if source is None else _parsed(run, definition, source)
            for (definition, _), source in zip(registered, sources, strict=True)
        ]
    for (definition, state), source, found in zip(registered, sources, parsed, strict=True):
        if source is None:
            yield definition
        else:
            yield Subject(definition, state, source, found)


def _parsed(run: Run, definition: IndexDefinition, source: Source) -> dict[str, Any]:
    query = SQL("SELECT jsonb_object_agg(p.name, to_jsonb(p))::text FROM ({}) AS p").format(
        parsed_objects(definition.name, definition.schema, source.regclass)
    )
    ((found,),) = run(query.as_string(None))
    return {} if found is None else dict(json.loads(found))


@contextmanager
def _full_names(run: Run) -> Iterator[None]:
    """Let PostgreSQL write names out in full, whatever the search path is."""

    def put(path: str, *, is_local: bool) -> None:
        setting = SQL("SELECT set_config('search_path', {}, {})")
        run(setting.format(Literal(path), Literal(is_local)).as_string(None))

    def path() -> str:
        ((found,),) = run("SELECT current_setting('search_path')")
        return str(found)

    before = path()
    put("pg_catalog", is_local=True)
    # Where each statement is a transaction of its own, that has not lasted.
    is_local = path() == "pg_catalog"
    if not is_local:
        put("pg_catalog", is_local=False)
    try:
        yield
    finally:
        with suppress(Exception):  # what a failed transaction has set goes with it
            put(before, is_local=is_local)


def _inspect(run: Run, subject: Subject | IndexDefinition) -> Inspected:
    if isinstance(subject, IndexDefinition):
        gone = Finding(subject, f"table {subject.table}", "is gone", Mend.REMOVE)
        return Inspected(subject, (gone,))
    findings = tuple(_findings(run, subject))
    return Inspected(subject.shown, findings)


def _findings(run: Run, subject: Subject) -> Iterator[Finding]:
    source, table = subject.source, f"table {subject.source.name}"
    if not source.is_in_place:
        yield subject.finding(
            table,
            f"was moved to the schema {source.schema}, and its search index was not",
            Mend.BY_HAND,
            hint="Move it back, or drop the search index and create it anew in that schema.",
        )
        return
    if source.has_children:
        yield subject.finding(
            table,
            "has tables that inherit from it, whose changes are not captured",
            Mend.BY_HAND,
            hint="Let them inherit no more (ALTER TABLE … NO INHERIT), partition the table, or "
            "index each of them.",
        )
    version = subject.state.get("template_version", 1)
    if version < TEMPLATE_VERSION:
        # What its companions lack in comparison they get with the rest.
        yield subject.finding(
            f"search index {subject.definition.name}",
            "was made by an earlier version of pgsearch",
            Mend.ALTER,
        )
        return
    relations = Relations(run, subject)
    yield from relations.findings()
    if not subject.state.get("capturing", True):
        yield subject.finding(
            f"search index {subject.definition.name}",
            "does not follow its table: a migration has suspended it, or stopped in its middle",
            Mend.REFILL,
        )
    elif version == TEMPLATE_VERSION:
        yield from Capture(run, subject, relations).findings()
        yield from security.findings(run, subject)
