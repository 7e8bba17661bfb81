"""`pgsearch worker`: embed what changes, until stopped."""

from __future__ import annotations

import logging
import signal
from typing import TYPE_CHECKING

import click

from pgsearch.cli import console

if TYPE_CHECKING:
    from types import FrameType

    from pgsearch.sync import Progress


@click.command()
@click.argument("indexes", nargs=-1, metavar="[INDEX]...")
@click.option("--poll", default=0.1, show_default=True, help="Seconds between looks at the queue.")
@click.option("--batch", default=1024, show_default=True, help="Changes per batch at most.")
@click.option("--rate", type=float, help="Rows per second that fills may take at most.")
@click.pass_obj
def command(
    url: str | None, indexes: tuple[str, ...], poll: float, batch: int, rate: float | None
) -> None:
    """Embed what changes, until stopped by SIGTERM or Ctrl-C.

    Any number of workers may run at once. A stopped worker finishes the call of the model that it
    is at, and gives the rest back.
    Without an INDEX, all search indexes are kept up to date.
    """
    from pgsearch.cli.sync import summary
    from pgsearch.sync import Worker

    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    # It would tell of every request to an endpoint.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    worker = Worker(
        console.use_database(url),
        indexes=indexes,
        batch_rows=batch,
        backfill_rate=rate,
        on_progress=_log,
    )

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        logging.info("Stopping after this batch (%s).", signal.Signals(number).name)
        worker.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    logging.info("Stopped: %s", summary(worker.run(poll_s=poll)))


def _log(progress: Progress) -> None:
    if progress.step == "index":
        logging.info("%s: building the HNSW index of %s", progress.search_index, progress.embedding)
    elif progress.step == "documents":
        logging.info("%s: %s rows read for keywords", progress.search_index, progress.done)
    else:
        failed = f", {progress.failed} failed" if progress.failed else ""
        logging.info(
            "%s: %s done%s, %s waiting",
            progress.search_index,
            progress.done,
            failed,
            progress.waiting,
        )
