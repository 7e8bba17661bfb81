"""Triggers, functions and views of a search index, against what they should be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from psycopg.sql import SQL, Identifier, Literal

from pgsearch.drift import expected
from pgsearch.drift.finding import Finding, Mend
from pgsearch.drift.relations import Relations
from pgsearch.drift.subject import NOTE, Run, Subject, ask, literals
from pgsearch.schema.filters import filter_parameters
from pgsearch.schema.passages import PASSAGES_PARAMETERS
from pgsearch.schema.search_function import PARAMETERS

#: Names of types in the catalogue, where SQL has others.
_TYPE_NAMES = {"integer": "int4", "double precision": "float8"}

#: Triggers by event: tgtype of a row trigger AFTER it, and of a statement trigger BEFORE it.
_TRIGGERS = {"insert": 5, "update": 17, "delete": 9, "truncate": 34}

#: When triggers fire: by origin, or always. The others do not see the application's changes.
_ENABLED = ("O", "A")


class Capture:
    """What reads the source table and captures its changes."""

    def __init__(self, run: Run, subject: Subject, relations: Relations) -> None:
        self._subject = subject
        self._names = subject.definition.names
        self._relations = relations
        self._wanted = expected.routines(subject.definition)
        source = subject.source
        self._here = {t["name"]: t for t in source.triggers if t["table"] == source.oid}
        names = [*self._wanted, self._names.read, self._names.expression]
        found = ask(
            run,
            "routines",
            schema_literal=Literal(subject.definition.schema),
            names=literals(names),
            source=SQL("{}::oid").format(Literal(subject.source.oid)),
        )
        self._found: list[dict[str, Any]] = found or []

    def findings(self) -> Iterator[Finding]:
        """Yield what is wrong with it."""
        row = self._relations.composite_type(self._names.row, Mend.REFILL)
        found = [*row, *self._triggers(), *self._functions(), *self._views()]
        lost = [finding for finding in found if finding.problem == "is missing"]
        if self._subject.gone:
            # What depended on the column went with it: one cause, one finding.
            yield self._column_gone(lost)
            found = [finding for finding in found if finding not in lost]
        yield from found
        yield from self._notes()

    def _column_gone(self, lost: Sequence[Finding]) -> Finding:
        gone = self._subject.gone
        problem = "is gone" if len(gone) == 1 else "are gone"
        if lost:
            problem += ", and with it " + ", ".join(finding.object for finding in lost)
        return self._subject.finding(
            f"column {', '.join(gone)} of table {self._subject.source.name}",
            problem,
            Mend.REFILL,
            hint="Declare the search index without it, too.",
        )

    # Triggers

    def _triggers(self) -> Iterator[Finding]:
        wanted = {self._names.trigger(event): type_ for event, type_ in _TRIGGERS.items()}
        for name, type_ in wanted.items():
            yield from self._trigger(name, type_, self._here.get(name))
        for name in self._here.keys() - wanted.keys():
            if self._here[name]["is_ours"]:
                yield self._subject.finding(
                    f"trigger {name}",
                    "captures changes a second time",
                    Mend.EXECUTE,
                    statement=self._drop_trigger(name),
                )
        yield from self._partitions()

    def _trigger(self, name: str, type_: int, found: Mapping[str, Any] | None) -> Iterator[Finding]:
        subject, object_ = self._subject, f"trigger {name}"
        if found is None:
            yield subject.finding(object_, "is missing", Mend.REFILL)
        elif not found["is_ours"] or found["type"] != type_ or self._is_edited(name):
            yield subject.finding(object_, "was replaced by hand", Mend.REFILL)
        elif found["enabled"] not in _ENABLED:
            yield subject.finding(object_, _disabled(found["enabled"]), Mend.REFILL)
        elif found["has_columns"] and subject.source.has_before_update:
            yield subject.finding(
                object_,
                "does not see what a BEFORE UPDATE trigger changes, which was added after it",
                Mend.REFILL,
            )

    def _drop_trigger(self, name: str) -> str:
        source = self._subject.source
        table = Identifier(self._subject.definition.schema, source.name)
        return SQL("DROP TRIGGER {} ON {}").format(Identifier(name), table).as_string(None)

    def _partitions(self) -> Iterator[Finding]:
        """Yield what is wrong with the triggers of partitions; a worker sees to new ones."""
        source = self._subject.source
        known = {int(number) for number in self._subject.state.get("partitions") or ()}
        by_leaf = {(t["table"], t["name"]): t for t in source.triggers}
        for leaf, shown in source.leaves.items():
            for event, type_ in _TRIGGERS.items():
                name = self._names.trigger(event)
                found, object_ = by_leaf.get((leaf, name)), f"trigger {name} of partition {shown}"
                if found is None:
                    if event == "truncate" and leaf in known:
                        yield self._subject.finding(object_, "is missing", Mend.REFILL)
                elif not found["is_ours"] or found["type"] != type_:
                    yield self._subject.finding(object_, "was replaced by hand", Mend.REFILL)
                elif found["enabled"] not in _ENABLED:
                    yield self._subject.finding(object_, _disabled(found["enabled"]), Mend.REFILL)

    # What PostgreSQL has parsed

    def _is_edited(self, name: str) -> bool:
        """Return whether something parsed is known to differ from what was made."""
        return self._subject.is_edited(name, self._columns(name))

    def _columns(self, name: str) -> tuple[int | None, ...] | None:
        """Return which columns something that is parsed should name; None if nothing is said."""
        subject, names = self._subject, self._names
        if subject.gone:
            return None
        read = subject.numbered(subject.read_names)
        if name in (names.read, names.source):
            return subject.numbered(subject.row_names)
        if name in (names.trigger("insert"), names.trigger("delete")):
            return read
        if name == names.trigger("update") and name in self._here:
            listed = dict.fromkeys(read) if self._here[name]["has_columns"] else ()
            return (*listed, *(number for number in read for _ in ("OLD", "NEW")))
        return None

    def _notes(self) -> Iterator[Finding]:
        """Yield that there are no digests, as in a dump without comments."""
        lost = [
            f"{parsed['kind'].lower()} {name}"
            for name, parsed in self._subject.parsed.items()
            if not NOTE.search(parsed["comment"] or "")
        ]
        if lost:
            yield self._subject.finding(
                ", ".join(sorted(lost)),
                "has no comment by which an edit would be noticed",
                Mend.ALTER,
            )

    # Functions

    def _functions(self) -> Iterator[Finding]:
        names = self._names
        refilled = {names.capture, names.isolated, names.fill, names.evaluate}
        for routine in self._wanted.values():
            mend = Mend.REFILL if routine.name in refilled else Mend.ALTER
            found = self._find(routine.name)
            if found is None:
                yield self._subject.finding(f"function {routine.name}", "is missing", mend)
            elif problem := self._routine_problem(routine, found):
                yield self._subject.finding(f"function {routine.name}", problem, mend)
        parsed = [names.read]
        if self._subject.definition.expressions:
            parsed.append(names.expression)
        for name in parsed:
            found = self._find(name)
            if found is None:
                yield self._subject.finding(f"function {name}", "is missing", Mend.REFILL)
            elif name not in self._subject.parsed or self._is_edited(name):
                yield self._subject.finding(f"function {name}", "was edited by hand", Mend.REFILL)
            elif found["is_definer"] or found["volatility"] != "s" or found["settings"]:
                yield self._subject.finding(f"function {name}", "has other options", Mend.REFILL)

    def _find(self, name: str) -> dict[str, Any] | None:
        """Return the function of a name with the parameters that pgsearch gives it."""
        candidates = [found for found in self._found if found["name"] == name]
        if name == self._names.search:
            return self._search(candidates, PARAMETERS, self._names.hit)
        if name == self._names.passages:
            return self._search(candidates, PASSAGES_PARAMETERS, self._names.passage)
        wanted = {
            self._names.fill: ["jsonb", "int4"],
            self._names.rewrite: ["jsonb"],
            self._names.isolated: ["bool", self._names.row, "bool", self._names.row, "bool"],
            self._names.terms: ["text", "int4", "regconfig"],
            self._names.encode: ["text", "int4"],
            self._names.embed: ["text", "text"],
            self._names.read: ["row"],
            self._names.expression: ["row", "int4"],
            self._names.evaluate: ["row", "int4"],
        }.get(name, [])
        return next((f for f in candidates if (f["arguments"] or []) == wanted), None)

    def _search(
        self, candidates: Sequence[dict[str, Any]], parameters: Mapping[str, str], result: str
    ) -> dict[str, Any] | None:
        """Return the search function with these parameters before the filters, and this result."""
        return next((f for f in candidates if self._is_search(f, parameters, result)), None)

    def _is_search(
        self, found: Mapping[str, Any], parameters: Mapping[str, str], result: str
    ) -> bool:
        definition = self._subject.definition
        names = list(parameters)
        types = [_TYPE_NAMES.get(type_, type_) for type_ in parameters.values()]
        if definition.language_column is not None:
            names.append("query_language")
            types.append("text")
        filters = filter_parameters(definition)
        wanted = [self._relations.types[filter_.type] for filter_ in filters]
        given = found["argument_types"][len(types) :]
        return (
            found["result"] == result
            and found["argument_names"] == [*names, *(filter_.name for filter_ in filters)]
            and found["arguments"][: len(types)] == types
            and len(wanted) == len(given)
            and all(a in (b, None) for a, b in zip(wanted, given, strict=True))
        )

    def _routine_problem(self, routine: expected.Routine, found: Mapping[str, Any]) -> str | None:
        if found["language"] != "plpgsql" or found["body"] != routine.body:
            return "was edited by hand"
        settings = dict(s.split("=", 1) for s in found["settings"] or ())
        has_settings = settings.keys() == routine.settings.keys() and all(
            value in (None, settings[name]) for name, value in routine.settings.items()
        )
        if found["is_definer"] != routine.is_definer:
            return f"is {'not ' if routine.is_definer else ''}SECURITY DEFINER"
        if found["volatility"] != routine.volatility or not has_settings:
            return "has other options"
        # Those of what a search asks are kept: they may have been granted on purpose.
        asked = (self._names.terms, self._names.encode)
        if found["is_public"] and routine.is_private and routine.name not in asked:
            return "may be called by everybody"
        return None

    # Views

    def _views(self) -> Iterator[Finding]:
        definition, names = self._subject.definition, self._names
        key = [column.name for column in definition.key]
        yield from self._view(names.source, [*key, "texts", "tsconfig"], Mend.REFILL)
        filters = [column.name for column in definition.filters]
        yield from self._view(names.filter, list(dict.fromkeys([*key, *filters])), Mend.ALTER)

    def _view(self, name: str, columns: list[str], mend: Mend) -> Iterator[Finding]:
        subject, found = self._subject, self._relations.get(name, "v")
        if found is None:
            yield subject.finding(f"view {name}", "is missing", mend)
        elif [column["name"] for column in found["columns"]] != columns:
            view = Identifier(subject.definition.schema, name)
            # It cannot be replaced by one with other columns.
            drop = SQL("DROP VIEW {}").format(view).as_string(None)
            yield subject.finding(f"view {name}", "was edited by hand", mend, statement=drop)
        elif self._is_edited(name):
            yield subject.finding(f"view {name}", "was edited by hand", mend)
        elif (found["options"] or {}).get("security_invoker") not in ("true", "on", "1", "yes"):
            yield subject.finding(f"view {name}", "is not security_invoker", Mend.ALTER)


def _disabled(state: str) -> str:
    return "fires on replicas only" if state == "R" else "is disabled"
