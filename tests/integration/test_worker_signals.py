"""SIGTERM and Ctrl-C: a worker ends whatever it is at, and gives back what it has."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.integration.test_worker_concurrency import eventually
from tests.plugins.worker import SENTENCES, Stories

#: `pgsearch worker` with a model that computes for ten minutes.
HANGING = """
import sys, time
from pgsearch.cli import main
from pgsearch.sync import Worker
from tests.plugins.worker import Watching

def hang(texts):
    print("computing", flush=True)
    time.sleep(600)

Worker.__init__.__kwdefaults__["load"] = lambda _: Watching(hang)
main(["--database", sys.argv[1], "worker"])
"""

#: `pgsearch worker` that gets a signal at the worst moment: just as it begins to wait.
UNLUCKY = """
import signal, sys, time
from pgsearch.cli import main
from pgsearch.sync import Report, Worker

def run(self, poll_s):
    with self._stop._cond:
        signal.raise_signal(signal.SIGTERM)
        time.sleep(0.2)
    assert self._stop.wait(10)
    return Report()

Worker.run = run
main(["--database", sys.argv[1], "worker"])
"""

#: What is left of the process when a worker has ended.
AFTERWARDS = """
import signal
from pgsearch.cli.signals import stopping

with stopping(lambda: print("stop"), lambda: print("give back")):
    signal.raise_signal(signal.SIGINT)
print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, signal.set_wakeup_fd(-1))
"""


def test_a_signal_that_comes_while_the_worker_begins_to_wait_stops_it(stories: Stories) -> None:
    done = subprocess.run(
        [sys.executable, "-c", UNLUCKY, stories.url], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    assert "(SIGTERM)" in done.stderr
    assert "Stopped: " in done.stderr


def test_signals_do_what_they_did_when_the_worker_has_ended() -> None:
    done = subprocess.run([sys.executable, "-c", AFTERWARDS], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["stop", "True -1"], done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once_and_nothing_stays_leased(
    stories: Stories, number: signal.Signals
) -> None:
    stories.insert(*SENTENCES)
    with subprocess.Popen(
        [sys.executable, "-c", HANGING, stories.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline() == "computing\n"
            leased = "SELECT count(leased_until) FROM story_search_queue"
            eventually(lambda: stories.value(leased) == 4)
            process.send_signal(number)
            assert any("once more ends it at once" in line for line in process.stderr)
            process.send_signal(number)
            assert process.wait(10) == 128 + number
        finally:
            process.kill()
    assert stories.execute("SELECT DISTINCT leased_until, lost FROM story_search_queue") == [
        (None, 0)
    ]
