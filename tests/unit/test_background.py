"""Work beside other work: what has ended is heard of once, and what failed is raised."""

from __future__ import annotations

from contextlib import nullcontext
from typing import cast

import pytest

from pgsearch.database import Connection
from pgsearch.lifecycle.background import Background


def background() -> Background:
    return Background(lambda: nullcontext(cast(Connection, None)), "test")


def test_an_end_is_heard_of_once_however_often_failures_are_asked_for() -> None:
    work = background()
    for _ in range(2):
        assert work.start(lambda _: None)
        work.wait()
        work.raise_failure()
        work.raise_failure()
        assert work.check()
        assert not work.check()
    work.close()


def test_the_end_before_a_start_is_heard_of() -> None:
    work = background()
    assert work.start(lambda _: None)
    work.wait()
    assert work.start(lambda _: None)
    assert work.check()
    work.wait()
    assert work.check()
    work.close()


def test_a_failure_is_raised_once_and_is_an_end() -> None:
    def fail(_: Connection) -> None:
        raise RuntimeError("no memory")

    work = background()
    assert work.start(fail)
    work.wait()
    with pytest.raises(RuntimeError, match="no memory"):
        work.raise_failure()
    assert work.check()
    assert work.start(lambda _: None)
    work.close()
