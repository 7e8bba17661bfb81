"""Row-level security of companion tables, against that of the source table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from psycopg.sql import SQL, Identifier, Literal

from pgsearch.drift.finding import Finding, Mend
from pgsearch.drift.subject import Run, Subject, ask, literals

#: What a policy is in the catalogue: FOR SELECT, for everybody.
_POLICY = {"command": "r", "is_permissive": True, "is_for_all": True, "has_check": False}


def findings(run: Run, subject: Subject) -> Iterator[Finding]:
    """Yield where companions do not follow the source, and who cannot read what he has to.

    Args:
        run: Runs a query.
        subject: The search index.
    """
    names = subject.definition.names
    found = ask(
        run,
        "security",
        schema_literal=Literal(subject.definition.schema),
        names=literals(list(names.secured)),
        source=SQL("{}::oid").format(Literal(subject.source.oid)),
        fill_function=Literal(names.fill),
    )
    companions = found["companions"] or {}
    for table in names.secured:
        if table in companions:
            yield from _companion(subject, table, companions[table])
    for role, is_owner in (found["blind"] or {}).items():
        yield _blind(subject, role, is_owner=is_owner)


def _companion(subject: Subject, table: str, found: Mapping[str, Any]) -> Iterator[Finding]:
    source, object_ = subject.source, f"table {table}"
    if found["is_secured"] and not source.is_secured:
        problem = f"has row-level security, and table {source.name} has none"
        yield subject.finding(object_, problem, Mend.ALTER)
        return
    if source.is_secured and not found["is_secured"]:
        problem = (
            f"has no row-level security, and table {source.name} has: whoever may read it reads "
            "all rows"
        )
        yield subject.finding(object_, problem, Mend.ALTER)
        return
    if found["is_forced"]:
        problem = "forces row-level security on its owner, whose triggers write it"
        yield subject.finding(object_, problem, Mend.ALTER)
    if source.is_secured:
        yield from _policies(subject, table, found["policies"] or {})


def _policies(
    subject: Subject, table: str, found: Mapping[str, Mapping[str, Any]]
) -> Iterator[Finding]:
    wanted = subject.definition.names.secured[table]
    for name, policy in found.items():
        # One that is restrictive only takes rows away.
        if name != wanted and policy["is_permissive"]:
            companion = Identifier(subject.definition.schema, table)
            drop = SQL("DROP POLICY {} ON {}").format(Identifier(name), companion)
            yield subject.finding(
                f"policy {name} of table {table}",
                f"admits more than table {subject.source.name} does",
                Mend.EXECUTE,
                statement=drop.as_string(None),
            )
    if wanted is None:
        return
    object_, policy = f"policy {wanted} of table {table}", found.get(wanted, {})
    key = None if subject.gone else subject.numbered([c.name for c in subject.definition.key])
    if not policy:
        yield subject.finding(object_, "is missing", Mend.ALTER)
    elif policy != _POLICY or subject.is_edited(wanted, key):
        yield subject.finding(object_, "was edited by hand", Mend.ALTER)


def _blind(subject: Subject, role: str, *, is_owner: bool) -> Finding:
    source = subject.source.name
    if is_owner:
        return subject.finding(
            f"role {role}",
            f"owns the functions that read table {source} for workers, and row-level security "
            "hides rows from it",
            Mend.BY_HAND,
            hint=f"Give it BYPASSRLS, or let the table not force it: ALTER TABLE {source} NO FORCE "
            "ROW LEVEL SECURITY.",
        )
    return subject.finding(
        f"role {role}",
        f"may work on search index {subject.definition.name}, and row-level security hides rows "
        f"of table {source} from it",
        Mend.BY_HAND,
        hint="Make it a member of the role that owns the table and its search index, or give it "
        "BYPASSRLS; or op.revoke_worker, if it is no worker.",
    )
