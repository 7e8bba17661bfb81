"""`pgsearch worker`: embed what changes, until stopped."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import click

from pgsearch.cli import console

if TYPE_CHECKING:
    from pgsearch.sync import Progress


@click.command()
@click.argument("indexes", nargs=-1, metavar="[INDEX]...")
@click.option(
    "--poll",
    type=console.POSITIVE,
    default=0.1,
    show_default=True,
    help="Seconds between looks at the queue.",
)
@console.BATCH
@console.RATE
@console.SHARE
@console.DISTILL
@click.pass_obj
def command(
    url: str | None,
    indexes: tuple[str, ...],
    poll: float,
    batch: int,
    rate: float | None,
    share: float,
    distill: bool | None,
) -> None:
    """Embed what changes, until stopped by SIGTERM or Ctrl-C.

    Any number of workers may run at once. A stopped worker finishes the call of the model that it
    is at, and gives the rest back; stopped twice, it gives everything back and ends at once.
    Without an INDEX, all search indexes are kept up to date.
    """
    from pgsearch.cli.signals import stopping
    from pgsearch.cli.sync import summary
    from pgsearch.sync import Worker

    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    # It would tell of every request to an endpoint.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # It would tell of a lost connection before the worker does.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    worker = Worker(
        console.use_database(url),
        indexes=indexes,
        batch_rows=batch,
        backfill_rate=rate,
        backfill_share=share,
        distill=distill,
        on_progress=_log,
    )

    with stopping(worker.stop, worker.give_back):
        report = worker.run(poll_s=poll)
    logging.info("Stopped: %s", summary(report))


def _log(progress: Progress) -> None:
    if progress.step == "index":
        logging.info("%s: building the HNSW index of %s", progress.search_index, progress.embedding)
    elif progress.step.startswith("encoder"):
        return  # the worker says when it is built
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
