"""A partitioned table: rows come and go with its partitions, of which no trigger tells."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from pgsearch import database as product
from pgsearch.definition import IndexDefinition, TextColumn, TypedColumn
from pgsearch.sync import Report, Worker
from pgsearch.testing import HashEmbedder
from tests.plugins.worker import create_search_index, differences, url_of

HASH_V1 = {"hash_v1": HashEmbedder(64)}

REPORT = IndexDefinition(
    "report_search",
    "public",
    "report",
    key=(TypedColumn("day", "date"), TypedColumn("number", "integer")),
    text=(TextColumn("title", "A"), TextColumn("body", "B")),
)

TABLES = """
CREATE TABLE report (day date, number integer, title text, body text, PRIMARY KEY (day, number))
  PARTITION BY RANGE (day);
CREATE TABLE report_2024 PARTITION OF report FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE report_2025 (
  dropped text, body text, number integer NOT NULL, extra jsonb, title text, day date NOT NULL
);
ALTER TABLE report_2025 DROP COLUMN dropped, DROP COLUMN extra;
ALTER TABLE report ATTACH PARTITION report_2025 FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE report_2026 PARTITION OF report FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')
  PARTITION BY LIST (number);
CREATE TABLE report_2026_1 PARTITION OF report_2026 FOR VALUES IN (1);
CREATE TABLE report_2026_rest PARTITION OF report_2026 DEFAULT;
INSERT INTO report
  SELECT make_date(year, 1, 1) + n, n, 'Report ' || n, 'Of the year ' || year
  FROM generate_series(2024, 2026) AS year, generate_series(1, 3) AS n;
"""

#: A table of its own with two rows and its columns in another order.
OLD = """
CREATE TABLE report_2023 (
  body text, title text, number integer NOT NULL, day date NOT NULL, PRIMARY KEY (day, number)
);
INSERT INTO report_2023
  SELECT 'Of the year 2023', 'Report ' || n, n, '2023-01-01' FROM generate_series(1, 2) AS n;
"""
ATTACH = """
ALTER TABLE report ATTACH PARTITION report_2023 FOR VALUES FROM ('2023-01-01') TO ('2024-01-01')
"""


class Reports:
    """The table `report` with its search index, which is up to date."""

    def __init__(self, connection: product.Connection) -> None:
        self.connection = connection

    def execute(self, statements: str) -> list[tuple[Any, ...]]:
        """Execute statements and return the rows of the last one."""
        cursor = self.connection.execute(statements.encode())
        while cursor.nextset():
            pass
        return cursor.fetchall() if cursor.description else []

    def drain(self) -> Report:
        return Worker(url_of(self.connection)).drain()

    def differences(self) -> list[str]:
        return differences(self.connection, REPORT, HASH_V1)

    def documents(self) -> list[int]:
        """Return the year of each document, in order."""
        rows = self.execute("SELECT extract(year FROM day)::integer FROM report_search_document")
        return sorted(year for (year,) in rows)


@pytest.fixture
def reports(installed: product.Connection) -> Reports:
    found = Reports(installed)
    found.execute(TABLES)
    create_search_index(installed, REPORT)
    assert found.drain().documents == 9
    assert found.differences() == []
    return found


@pytest.mark.parametrize(
    ("change", "documents", "embedded"),
    [
        pytest.param("INSERT INTO report VALUES ('2025-05-05', 5, 'A', 'B')", 1, 1, id="parent"),
        pytest.param(
            "INSERT INTO report_2025 (day, number, title, body) VALUES ('2025-05-05', 5, 'A', 'B')",
            1,
            1,
            id="partition",
        ),
        pytest.param(
            "UPDATE report_2026_1 SET body = 'Changed.'; DELETE FROM report_2024 WHERE number = 2",
            2,
            1,
            id="update and delete",
        ),
        pytest.param(
            "UPDATE report SET day = day + 400 WHERE day < '2025-01-04'",
            10,
            0,
            id="rows move to another partition",
        ),
        pytest.param("UPDATE report SET number = 4 - number", 12, 0, id="rows get new keys"),
        pytest.param("TRUNCATE report_2025", 3, 0, id="truncate a partition"),
        pytest.param("TRUNCATE report_2026", 3, 0, id="truncate a partition of partitions"),
        pytest.param("TRUNCATE report", 0, 0, id="truncate all"),
        pytest.param(f"{OLD}{ATTACH}", 2, 2, id="attach"),
        pytest.param(
            f"{OLD}{ATTACH}; INSERT INTO report VALUES ('2023-05-05', 5, 'A', 'B')",
            3,
            3,
            id="attach and insert",
        ),
        pytest.param(f"{OLD}{ATTACH}; TRUNCATE report_2023", 0, 0, id="attach and truncate"),
        pytest.param("ALTER TABLE report DETACH PARTITION report_2025", 3, 0, id="detach"),
        pytest.param("DROP TABLE report_2026", 3, 0, id="drop"),
        pytest.param(
            f"ALTER TABLE report DETACH PARTITION report_2025; {OLD}{ATTACH}", 5, 2, id="both"
        ),
        pytest.param(
            "ALTER TABLE report DETACH PARTITION report_2024;"
            " UPDATE report_2024 SET body = 'No row of the table now.', number = number + 7;"
            " TRUNCATE report_2024",
            3,
            0,
            id="a detached table goes its own way",
        ),
    ],
)
def test_rows_and_partitions_are_followed(
    reports: Reports, change: str, documents: int, embedded: int
) -> None:
    reports.execute(change)
    report = reports.drain()
    assert (report.documents, report.embedded, report.failed) == (documents, embedded, 0)
    assert reports.differences() == []
    ((rows,),) = reports.execute("SELECT count(*) FROM report")
    assert len(reports.documents()) == rows
    assert reports.execute("SELECT count(*) FROM report_search_queue") == [(0,)]
    assert reports.drain().documents == 0


def test_an_attached_partition_can_be_truncated(reports: Reports) -> None:
    reports.execute(OLD)
    reports.execute(ATTACH)
    reports.drain()
    assert reports.documents().count(2023) == 2
    reports.execute("TRUNCATE report_2023")
    # No worker had to come for that.
    assert reports.documents().count(2023) == 0
    reports.drain()
    assert reports.differences() == []


def test_a_running_worker_looks_from_time_to_time(
    reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgsearch.sync.partitions.LOOK_EVERY_S", 0.1)
    worker = Worker(url_of(reports.connection))
    thread = threading.Thread(target=worker.run, kwargs={"poll_s": 0.02})
    thread.start()
    try:
        reports.execute(OLD)
        reports.execute(ATTACH)
        for _ in range(200):
            if not reports.differences():
                break
            worker._stop.wait(0.05)
    finally:
        worker.stop()
        thread.join(timeout=10)
    assert reports.differences() == []


def test_a_locked_partition_is_left_for_later(
    reports: Reports, caplog: pytest.LogCaptureFixture
) -> None:
    reports.execute(OLD)
    reports.execute(ATTACH)
    reports.execute("INSERT INTO report VALUES ('2025-05-05', 5, 'A', 'B')")
    with product.connect(url_of(reports.connection), autocommit=False) as application:
        application.execute("UPDATE report_2023 SET title = 'Held'")
        # What waits in the queue is done all the same.
        assert reports.drain().documents == 1
    assert "report_search: a partition is locked" in caplog.text
    assert reports.drain().documents == 2
    assert reports.differences() == []


def test_an_ordinary_table_is_not_looked_at(
    installed: product.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed.execute(
        "CREATE TABLE report (day date, number int, title text, body text,"
        " PRIMARY KEY (day, number))"
    )
    create_search_index(installed, REPORT)
    installed.execute("DROP FUNCTION report_search_watch_partitions()")
    installed.execute("INSERT INTO report VALUES ('2025-05-05', 5, 'A', 'B')")
    assert Worker(url_of(installed)).drain().documents == 1
