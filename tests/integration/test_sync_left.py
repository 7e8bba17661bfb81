"""What is left when a worker returns, and what `sync`, `status` and a worker's log say of it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence

import pytest
from click.testing import CliRunner, Result

from pgsearch.cli import main
from pgsearch.sync import Left, Progress
from tests.plugins.worker import SENTENCES, Stories, Watching

ONE, TWO, THREE, FOUR = SENTENCES
UP_TO_DATE = r"Nothing to embed: everything is up to date \(\d\.\d s\)\.\n"


def run(stories: Stories, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--database", stories.url, *arguments])


def fail_on_poison(texts: Sequence[str]) -> None:
    if any("poison" in text for text in texts):
        raise RuntimeError("the model cannot read this")


def test_nothing_is_left(stories: Stories) -> None:
    stories.insert(ONE, TWO)
    report = stories.drain()
    assert (report.left, report.waiting, report.parked) == (Left(), 0, 0)
    done = run(stories, "sync")
    assert done.exit_code == 0
    assert re.fullmatch(UP_TO_DATE, done.stdout)


def test_rows_of_another_worker_wait(stories: Stories) -> None:
    stories.drain()
    stories.insert(ONE, TWO, THREE)
    stories.execute(
        "UPDATE story_search_queue SET lease = 7, leased_until = now() + id * interval '1 h'"
    )
    done = run(stories, "sync")
    assert done.exit_code == 0
    until = "SELECT max(leased_until) FROM story_search_queue"
    clock = f"{stories.value(until).astimezone():%H:%M:%S}"
    first, second = done.stdout.splitlines()
    assert re.fullmatch(r"Nothing was embedded \(\d\.\d s\)\.", first)
    assert second == f"3 rows wait: leased by another worker until {clock} at the latest."
    report = stories.drain()
    assert (report.waiting, report.parked) == (3, 0)


def test_rows_that_failed_wait_and_then_are_parked(stories: Stories) -> None:
    stories.insert("poison 1", "poison 2")
    ill = Watching(fail_on_poison)
    report = stories.drain(ill, max_attempts=2)
    assert report.left is not None
    assert (report.left.put_off, report.waiting, report.parked) == (2, 2, 0)
    assert re.search(
        r"^2 rows wait to be tried again, from \d\d:\d\d:\d\d on\.$",
        run(stories, "sync").stdout,
        re.MULTILINE,
    )
    stories.execute("UPDATE story_search_queue SET not_before = NULL")
    report = stories.drain(ill, max_attempts=2)
    assert (report.waiting, report.parked) == (0, 2)
    done = run(stories, "sync")
    assert done.stdout.splitlines()[1:] == ["2 rows are parked: `pgsearch status` shows why."]
    assert "up to date" not in done.stdout


def test_what_there_was_no_time_for_waits(stories: Stories) -> None:
    stories.insert(*(f"Story number {n}." for n in range(50)))
    slow = Watching(lambda _: time.sleep(0.1))
    worker = stories.worker(slow, batch_rows=5)
    report = worker.drain(max_seconds=0.2)
    assert 0 < report.documents < 50
    assert report.waiting == 50 - report.documents
    timed = run(stories, "sync", "--batch", "5", "--max-seconds", "0")
    assert re.search(r"^\d+ rows wait to be embedded: run it again", timed.stdout, re.MULTILINE)


def test_a_table_that_is_not_read_to_its_end_is_named(stories: Stories) -> None:
    worker = stories.worker()
    worker.stop()
    report = worker.drain()
    left = Left(reading=("story_search",))
    assert report.left == left
    assert not left.is_nothing


def test_status_tells_of_rows_that_are_being_tried_again(stories: Stories) -> None:
    stories.insert(ONE, "poison 1", "poison 2")
    stories.drain(Watching(fail_on_poison))
    shown = run(stories, "status").stdout
    assert re.search(r"queue +2 waiting, the oldest for \d s, 2 being tried again, none", shown)
    assert "A row being tried again says: RuntimeError: the model cannot read this" in shown
    found = json.loads(run(stories, "status", "--json").stdout)
    assert (found["retrying"], found["failed"]) == (2, 0)
    assert found["last_error"] == "RuntimeError: the model cannot read this"
    # What was parked is told first.
    stories.execute(
        "UPDATE story_search_queue SET failed_at = now(), last_error = 'parked' WHERE id = 2"
    )
    found = json.loads(run(stories, "status", "--json").stdout)
    assert (found["retrying"], found["failed"], found["last_error"]) == (1, 1, "parked")


def test_progress_counts_what_failed_apart(
    stories: Stories, caplog: pytest.LogCaptureFixture
) -> None:
    from pgsearch.cli.worker import _log

    stories.insert(ONE, "poison 1", "poison 2")
    told: list[Progress] = []
    stories.drain(Watching(fail_on_poison), on_progress=told.append)
    (embedded,) = [progress for progress in told if progress.step == "embed"]
    assert (embedded.done, embedded.failed) == (1, 2)
    with caplog.at_level("INFO"):
        _log(embedded)
    assert caplog.records[-1].message.startswith("story_search: 1 done, 2 failed, ")


def test_nothing_empty_is_printed_where_there_is_no_terminal(stories: Stories) -> None:
    stories.drain()
    for verb in ("sync", "reconcile"):
        assert [line[:5] for line in run(stories, verb).stderr.splitlines()] == ["Using"]
    stories.insert(ONE)
    lines = run(stories, "sync").stderr.splitlines()
    assert (len(lines), "story_search: embedding" in lines[1]) == (2, True)
