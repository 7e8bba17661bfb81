"""`pgsearch status`: search indexes, embeddings and queues in a table, or as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pgsearch.cli import console

if TYPE_CHECKING:
    from rich.table import Table

    from pgsearch.status import Cost, EmbeddingStatus, IndexStatus, Progress

_STATE_COLOURS = {"active": "green", "ready": "cyan", "retired": "dim"}


@click.command()
@click.argument("indexes", nargs=-1, metavar="[INDEX]...")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per search index.")
@click.pass_obj
def command(url: str | None, indexes: tuple[str, ...], as_json: bool) -> None:
    """Show the state of search indexes, embeddings and queues.

    Without an INDEX, all of them are shown.
    """
    from pgsearch import database
    from pgsearch.status import read_status

    uri = console.use_database(url)
    with (
        database.connect(uri, row_security=True) as connection,
        database.transaction(connection),
    ):
        found = read_status(connection, *indexes)
    if as_json:
        _print_json(found)
    elif not found:
        click.echo(
            "There is no search index yet; op.create_search_index() in a migration makes one."
        )
    else:
        from rich.text import Text

        output = console.results()
        for index in found:
            for line in facts(index):
                output.print(line)
            if index.embeddings:
                # A line that is longer than the terminal is left to the terminal, not cut.
                output.print(embedding_table(index), crop=False)
                for embedding in index.embeddings:
                    model = Text(f"  {embedding.name}  model {embedding.model}")
                    output.print(model, soft_wrap=True)
            for remark in _remarks(index):
                output.print(remark)


def _print_json(found: tuple[IndexStatus, ...]) -> None:
    import json
    from dataclasses import asdict

    for index in found:
        click.echo(json.dumps(asdict(index), ensure_ascii=False))


def facts(index: IndexStatus) -> list[str]:
    """Return what a search index holds and what waits, a line each."""
    from rich.markup import escape

    filling = "" if index.filled else ", still reading rows that were there before it"
    if index.rebuilding:
        filling = ", rebuilding: searches find what is there"
    oldest = "" if index.oldest_s is None else f", the oldest for {age(index.oldest_s)}"
    failed = f", [red]{index.failed:,} failed[/]" if index.failed else ", none failed"
    failed = ", the failed ones not counted" if index.failed is None else failed
    retrying = f", {index.retrying:,} being tried again" if index.retrying else ""
    about = "about " if index.estimated else ""
    return [
        f"[bold]{escape(index.name)}[/] on table {escape(index.table)}",
        f"  documents  {about}{index.documents:,} ({size(index.document_bytes)}){filling}",
        f"  keywords   GIN index {size(index.keyword_index_bytes)}",
        f"  chunks     {about}{index.chunks:,} ({size(index.chunk_bytes)} with their vectors)",
        f"  queue      {about}{index.waiting:,} waiting{oldest}{retrying}{failed}",
        *_filling(index),
    ]


def _filling(index: IndexStatus) -> list[str]:
    """Return how far is what workers do for all rows, a line each."""
    from rich.markup import escape

    known = "" if index.rows is None else f" of about {index.rows:,} rows"
    filling = [("documents", known, index.reading)]
    filling += [(embedding.name, "", embedding.filling) for embedding in index.embeddings]
    if all(embedding.filling is None for embedding in index.embeddings):
        filling.append(("passages", "", index.catching_up))
    lines = [("filling", *each) for each in filling]
    lines += [("indexing", each.name, "", each.indexing) for each in index.embeddings]
    costs = [
        f"  cost       {escape(each.name)} about {each.cost.so_far:,.2f} so far"
        + _to_come(each.cost)
        for each in index.embeddings
        if each.cost is not None
    ]
    return costs + [
        # Rounded down: it is not done before it is.
        f"  {what:<10} {escape(name)} {int(progress.share * 100)} %{of}{_left(progress)}"
        for what, name, of, progress in lines
        if progress is not None and progress.share is not None
    ]


def _to_come(cost: Cost) -> str:
    if cost.to_come is None:
        return ", and more to come"
    return f", {cost.to_come:,.2f} to come" if cost.to_come else ""


def _left(progress: Progress) -> str:
    speed = ""
    if progress.per_s is not None:
        speed = f", {progress.per_s:,.{0 if progress.per_s >= 10 else 1}f} rows/s"
    return speed + ("" if progress.left_s is None else f", about {age(progress.left_s)} left")


def embedding_table(index: IndexStatus) -> Table:
    """Return the table of a search index's embeddings; nothing in it is ever cut."""
    from rich.table import Table

    table = Table("embedding", "state")
    for heading in ("vectors", "coverage", "HNSW index", "encoder"):
        table.add_column(heading, justify="right")
    for embedding in index.embeddings:
        colour = _STATE_COLOURS.get(embedding.state, "yellow")
        table.add_row(
            embedding.name,
            f"[{colour}]{embedding.state}[/]{_canary(embedding)}",
            f"{embedding.vectors:,}",
            "-" if embedding.coverage is None else f"{embedding.coverage:.1%}",
            _index_size(embedding),
            _encoder(embedding),
        )
    for column in table.columns:
        console.never_cut(column)
    return table


def _canary(embedding: EmbeddingStatus) -> str:
    share = embedding.canary_share
    return "" if share is None else f", canary {100 * share:.3g} %"


def _encoder(embedding: EmbeddingStatus) -> str:
    if embedding.encoder_version is None:
        return "-"
    return f"{embedding.encoder_cosine or 0:.2f} (version {embedding.encoder_version})"


def _index_size(embedding: EmbeddingStatus) -> str:
    if embedding.index_bytes is None:
        return "not built"
    held = "" if embedding.index_type == "vector" else f" of {embedding.index_type}"
    valid = "" if embedding.index_valid else " [red]INVALID[/]"
    return size(embedding.index_bytes) + held + valid


def _remarks(index: IndexStatus) -> list[str]:
    """Return what someone should know who sees the tables."""
    from rich.markup import escape

    remarks = []
    if not index.capturing:
        remarks.append(
            "It does not follow its table now: a migration has suspended it, or stopped in its "
            "middle. Run `alembic upgrade head`."
        )
    elif not index.filled:
        remarks.append("Rows are read by a worker; if none runs: `pgsearch sync`.")
    if index.blind is not None:
        remarks.append(
            f"Row-level security hides rows from the role {escape(index.blind)}, whose functions "
            "read them for workers, which stop with an error: give it BYPASSRLS, or take FORCE ROW "
            "LEVEL SECURITY from the table."
        )
    if index.failed:
        remarks.append(f"The row that failed last says: {escape(index.last_error or '')}")
    elif index.retrying:
        remarks.append(f"A row being tried again says: {escape(index.last_error or '')}")
    if index.truncated:
        remarks.append(
            f"{index.truncated:,} documents are too long for a tsvector; keyword "
            "search knows their beginning, vector search all of them."
        )
    return remarks


def age(seconds: float) -> str:
    """Return an age as people say it: `4 s`, `12 min`, `3 h`, `2 d`."""
    for limit, unit, length in ((120, "s", 1), (7200, "min", 60), (172800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def size(count: int) -> str:
    """Return bytes as PostgreSQL shows them: `8192 bytes`, `12 MB`."""
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 10240:
            return f"{value:.0f} {unit}"
        value /= 1024
    return f"{value:.0f} TB"
