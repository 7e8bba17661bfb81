"""What a run of the bench saw, by phase: as measurements, as a table, as JSON."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from bench.migrate.load import APPLICATION, Statement
from bench.migrate.locks import Wait
from bench.report import percentile, report

#: Who is to blame for a wait, by application_name.
MIGRATION = "migration"
WORKER = "worker"

_LONGEST = 20

#: As wide as the table needs, where the output is no terminal too.
_TABLE_WIDTH = 120


@dataclass(frozen=True)
class Phase:
    """A migration with the load after it, or a fill that was waited for.

    Args:
        title: The revision.
        direction: "upgrade", "downgrade" or "fill".
        cycle: Which cycle, from 1.
        started: When, by time.monotonic(); it lasts until the next one starts.
        seconds: How long the migration or the fill took.
        runs: How often the migration had to be run; 0 for a fill.
        wrong_documents: After a fill, documents that are missing, left over, or of another text.
    """

    title: str
    direction: str
    cycle: int
    started: float
    seconds: float
    runs: int = 0
    wrong_documents: int = 0


@dataclass(frozen=True)
class Summary:
    """What happened in a phase; times in milliseconds.

    Args:
        statements: Statements of the load that were sent in it.
        failed: Those of them that failed.
        longest_statement_ms: The longest one, as its client saw it.
        longest_wait_ms: The longest wait of the load for a migration or a worker.
        migration_waits: How often a migration waited for a lock: once per attempt.
        longest_migration_wait_ms: The longest of these.
    """

    statements: int
    failed: int
    longest_statement_ms: float
    longest_wait_ms: float
    migration_waits: int
    longest_migration_wait_ms: float


@dataclass(frozen=True)
class Result:
    """What a run saw.

    Args:
        case: The server's version, as in "postgresql-18".
        rows: Rows of the table at the start.
        connections: Connections of the load.
        lock_timeout_ms: The migrations' lock_timeout.
        phases: What was done, in order.
        ended: When the last phase ended, by time.monotonic().
        rewrites: 1 if the table lies in another file than at the start, else 0.
        statements: The statements of the load.
        waits: All waits for locks in the database.
        interruptions: What stopped the worker, and how often.
    """

    case: str
    rows: int
    connections: int
    lock_timeout_ms: int
    phases: Sequence[Phase]
    ended: float
    rewrites: int
    statements: Sequence[Statement]
    waits: Sequence[Wait]
    interruptions: dict[str, int]

    @cached_property
    def load_waits(self) -> list[Wait]:
        """The load's waits for a migration or a worker, none longer than its statement."""
        sent: dict[int, list[Statement]] = {}
        for statement in self.statements:
            sent.setdefault(statement.pid, []).append(statement)
        return [
            _within(wait, sent.get(wait.pid, []))
            for wait in self.waits
            if wait.application.startswith(APPLICATION)
            and (not wait.blockers or wait.blockers & {MIGRATION, WORKER})
        ]

    @property
    def longest_wait_ms(self) -> float:
        """The longest wait of the load."""
        return max((wait.milliseconds for wait in self.load_waits), default=0.0)

    @property
    def failures(self) -> list[Statement]:
        """The statements of the load that failed."""
        return [statement for statement in self.statements if statement.error]

    def span(self, phase: Phase) -> tuple[float, float]:
        """Return when a phase began and ended."""
        place = self.phases.index(phase)
        last = place + 1 == len(self.phases)
        return phase.started, self.ended if last else self.phases[place + 1].started

    def summary(self, phase: Phase) -> Summary:
        """Return what happened in a phase."""
        start, end = self.span(phase)
        sent = [s for s in self.statements if start <= s.started < end]
        waits = [w for w in self.load_waits if start <= w.started < end]
        migration = [
            w for w in self.waits if w.application == MIGRATION and start <= w.started < end
        ]
        return Summary(
            statements=len(sent),
            failed=sum(1 for s in sent if s.error),
            longest_statement_ms=max((1000 * (s.ended - s.started) for s in sent), default=0.0),
            longest_wait_ms=max((w.milliseconds for w in waits), default=0.0),
            migration_waits=len(migration),
            longest_migration_wait_ms=max((w.milliseconds for w in migration), default=0.0),
        )

    def tell(self) -> bool:
        """Print the measurements; return whether every target was met."""
        outcomes: list[bool | None] = []

        def tell(metric: str, value: float, unit: str, target: str | None = None) -> None:
            outcomes.append(report(self.case, metric, value, unit, target))

        milliseconds = [1000 * (s.ended - s.started) for s in self.statements]
        tell("rows", self.rows, "rows")
        tell("connections", self.connections, "connections")
        tell("migrations", sum(1 for phase in self.phases if phase.runs), "migrations")
        tell("reruns", sum(max(phase.runs - 1, 0) for phase in self.phases), "runs")
        tell("seconds", self.ended - self.phases[0].started, "s")
        fills = [phase.seconds for phase in self.phases if phase.direction == "fill"]
        tell("longest_fill", max(fills, default=0.0), "s")
        tell("statements", len(self.statements), "statements")
        tell("failed_statements", len(self.failures), "statements", "== 0")
        tell("lock_timeout_ms", self.lock_timeout_ms, "ms")
        tell("longest_wait_ms", self.longest_wait_ms, "ms", f"<= {self.lock_timeout_ms}")
        tell("longest_statement_ms", max(milliseconds), "ms")
        tell("statement_p99_ms", percentile(milliseconds, 99), "ms")
        tell("rewrites", self.rewrites, "rewrites", "== 0")
        tell("wrong_documents", sum(p.wrong_documents for p in self.phases), "documents", "== 0")
        return False not in outcomes

    def show(self) -> None:
        """Print a table of the phases, and what went wrong, on standard error."""
        from rich.console import Console
        from rich.table import Table

        table = Table("phase", "", box=None, pad_edge=False)
        for heading in ("s", "runs", "waits of\nthe migration", "statements", "failed"):
            table.add_column(heading, justify="right")
        table.add_column("longest\nwait, ms", justify="right")
        table.add_column("longest\nstatement, ms", justify="right")
        for phase in self.phases:
            seen = self.summary(phase)
            table.add_row(
                phase.title,
                phase.direction,
                f"{phase.seconds:.1f}",
                str(phase.runs or ""),
                str(seen.migration_waits or ""),
                str(seen.statements),
                str(seen.failed or ""),
                f"{seen.longest_wait_ms:.0f}" if seen.longest_wait_ms else "",
                f"{seen.longest_statement_ms:.0f}",
            )
        console = Console(stderr=True, highlight=False)
        console.width = max(console.width, _TABLE_WIDTH)
        console.print(table)
        for error, count in self.errors.items():
            console.print(f"{count} failed: {error}", markup=False)
        for message, count in self.interruptions.items():
            console.print(f"worker interrupted {count} times: {message}", markup=False)

    @property
    def errors(self) -> dict[str, int]:
        """The errors of the load, by kind of statement and message, with their counts."""
        return dict(Counter(f"{s.kind}: {s.error}" for s in self.failures))

    def to_json(self) -> dict[str, Any]:
        """Return what was seen, without the single statements."""
        longest = sorted(self.load_waits, key=lambda wait: -wait.milliseconds)[:_LONGEST]
        return {
            "case": self.case,
            "rows": self.rows,
            "connections": self.connections,
            "statements": len(self.statements),
            "failed_statements": len(self.failures),
            "longest_wait_ms": round(self.longest_wait_ms, 1),
            "lock_timeout_ms": self.lock_timeout_ms,
            "rewrites": self.rewrites,
            "errors": self.errors,
            "interruptions": self.interruptions,
            "phases": [self._phase_json(phase) for phase in self.phases],
            "longest_waits": [self._wait_json(wait) for wait in longest],
        }

    def _phase_json(self, phase: Phase) -> dict[str, Any]:
        seen = asdict(phase) | asdict(self.summary(phase))
        seen["started"] -= self.phases[0].started
        return {
            name: round(value, 3) if isinstance(value, float) else value
            for name, value in seen.items()
        }

    def _wait_json(self, wait: Wait) -> dict[str, Any]:
        during = next(
            (p for p in reversed(self.phases) if p.started <= wait.started), self.phases[0]
        )
        return {
            "phase": f"{during.direction} {during.title}",
            "ms": round(wait.milliseconds, 1),
            "lock": wait.lock,
            "blockers": sorted(wait.blockers),
            "query": wait.query,
        }


def _within(wait: Wait, statements: Sequence[Statement]) -> Wait:
    """Return a wait that ends no later than its statement, of those of its connection."""
    after = bisect_right(statements, wait.ended, key=lambda statement: statement.started)
    if after and statements[after - 1].ended > wait.started:
        return replace(wait, ended=min(wait.ended, statements[after - 1].ended))
    return wait
