"""`pgsearch upgrade`: replace the model of a search index, from adding it to activating it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import click

from pgsearch.cli import activate, compare, console, sync
from pgsearch.errors import DatabaseError, EmbeddingFailed, LifecycleError
from pgsearch.precision import MAX_INDEXED, TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pgsearch.database import Connection
    from pgsearch.declare import Model
    from pgsearch.registry import RegisteredEmbedding, RegisteredIndex
    from pgsearch.sync import Worker

#: Seconds between two looks at what another worker does.
_LOOK_S: Final = 1.0

#: What of a model's declaration has an option of its own.
_MODEL: Final = ("provider", "revision", "dimensions", "url", "query_prompt", "document_prompt")

#: And of its embedding, by what the declaration calls it.
_PRECISION: Final = {"type": "vector_type", "index": "index_type"}


@click.command()
@click.argument("index")
@click.option(
    "--to",
    "wanted",
    required=True,
    metavar="MODEL",
    help="A model, as on the Hugging Face hub, a folder, or an endpoint's; or the name of an "
    "embedding that there is, whose model is taken for another one with --as.",
)
@click.option("--as", "name", metavar="NAME", help="What the new embedding is called.")
@click.option(
    "--vector-type",
    type=click.Choice(TYPES),
    help="What its column is of.  [default: vector]",
)
@click.option(
    "--index-type",
    type=click.Choice(list(MAX_INDEXED)),
    help="What its HNSW graph holds.  [default: what the column does]",
)
@click.option("--revision", metavar="COMMIT", help="The hub commit.  [default: the newest]")
@click.option(
    "--dimensions", type=click.IntRange(1), help="Length of its vectors, if it cannot be asked."
)
@click.option("--provider", help="What runs the model.  [default: sentence-transformers]")
@click.option("--url", help="Of the provider openai: where the endpoint is.")
@click.option("--query-prompt", default="", help="Text put in front of a query.")
@click.option("--document-prompt", default="", help="Text put in front of a passage.")
@console.BATCH
@console.RATE
@console.SHARE
@compare.what_is_asked
@click.option(
    "--show",
    type=click.IntRange(min=0),
    default=3,
    show_default=True,
    help="Largest differences that are shown.",
)
@click.option(
    "--yes",
    is_flag=True,
    help="Activate it without asking. Otherwise, where there is nobody to ask, it stays ready.",
)
@click.pass_obj
def command(
    database_url: str | None,
    /,
    index: str,
    wanted: str,
    name: str | None,
    batch: int,
    rate: float | None,
    share: float,
    show: int,
    yes: bool,
    **options: Any,
) -> None:
    """Replace the model of a search index: add, fill, compare, ask, activate.

    The old embedding answers until the new one is activated, and stays ready after that, so that
    the way back is as short. Interrupted, it goes on where it stopped. What is asked of both for
    the comparison is given as for `pgsearch compare`; without it there is none.

    Example: pgsearch upgrade article_search --to BAAI/bge-small-en-v1.5 --judgements ./judged
    """
    from pgsearch import database, registry
    from pgsearch.lifecycle import replace
    from pgsearch.sync import Worker

    declared = {option: options.pop(option) for option in _MODEL}
    precision = {field: options.pop(option) for field, option in _PRECISION.items()}
    gate = compare.Gate.parse(options)
    uri = console.use_database(database_url)
    with database.connect(uri, row_security=True) as connection:
        (found,) = registry.read(connection, index)
        embedding = added(connection, found, wanted, name, declared, precision)
        with console.progress() as display:
            worker = Worker(
                uri,
                indexes=[found.name],
                batch_rows=batch,
                backfill_rate=rate,
                backfill_share=share,
                on_progress=sync.show(display),
            )
            found = filled(connection, worker, found, embedding)
        old = found.active
        if old is None or old.name == embedding:
            click.echo(f"{found.name}: {embedding} answers already.")
            return
        gate.check(connection, found, old.name, embedding, show)
        if not yes and not _agreed(f"Activate {embedding} in place of {old.name}?"):
            for line in _kept(found, old.name, embedding):
                click.echo(line)
            raise click.exceptions.Exit(1)
        replace.activate(connection, found, embedding)
        (now,) = registry.read(connection, index)
        lost = list(activate.text_lost(connection, found, now))
    for line in [*activate.said(found, now, embedding), *lost]:
        click.echo(line)
    (new,) = (each for each in now.embeddings if each.name == embedding)
    click.echo("Where the search index is declared, declare the same:")
    click.echo(f"  Embedding({_arguments(new)}), and active={embedding!r}")


def added(
    connection: Connection,
    index: RegisteredIndex,
    wanted: str,
    name: str | None = None,
    declared: Mapping[str, Any] | None = None,
    precision: Mapping[str, Any] | None = None,
) -> str:
    """Add an embedding to a search index unless it is there; return its name.

    Args:
        connection: An autocommit connection of the table's owner.
        index: The search index.
        wanted: An embedding that there is, which is restored if it is retired, or a model. With
            another name: that embedding's model.
        name: What the embedding of a model is called, if not by the model's name.
        declared: What else is declared of a model.
        precision: What is declared of the embedding's column and graph.
    """
    from pgsearch import names
    from pgsearch.declare import Embedding
    from pgsearch.lifecycle import replace
    from pgsearch.models.pin import pinned

    known = {embedding.name: embedding for embedding in index.embeddings}
    called = name or (wanted if wanted in known else names.embedding_name(wanted))
    of = known[wanted].model.name if wanted in known else wanted
    if called in known and known[called].model.name == of:
        # This is the second run, or it was added by a migration.
        _require_precision(known[called], precision or {})
        if wanted not in known:
            _require_model(known[called], declared or {})
        if known[called].state == "retired":
            replace.restore(connection, index, called)
        return called
    said = {option: value for option, value in (declared or {}).items() if value is not None}
    model = known[wanted].model if wanted in known else pinned(wanted, **said)
    asked = {field: value for field, value in (precision or {}).items() if value is not None}
    replace.add(connection, index, Embedding(called, model, **asked))
    click.echo(f"{index.name}: {called} is added, {_described(model)}.")
    return called


def _require_model(embedding: RegisteredEmbedding, declared: Mapping[str, Any]) -> None:
    """Raise an error where something else is said of a model than an embedding was added with.

    A revision may be said by the name of a branch or a tag.
    """
    known = {name: getattr(embedding.model, name) for name in declared if name != "revision"}
    other = {
        name: declared[name] for name in known if declared[name] not in ("", None, known[name])
    }
    if not other:
        return
    raise LifecycleError(
        f"Embedding {embedding.name!r} was added with "
        + ", ".join(f"{name} {known[name]!r}" for name in other)
        + ", which is not changed in place.",
        hint="Name one more with --as.",
    )


def _require_precision(embedding: RegisteredEmbedding, wanted: Mapping[str, Any]) -> None:
    """Raise an error where another precision is asked for than an embedding has."""
    if wanted.get("type") in (None, embedding.type) and wanted.get("index") in (
        None,
        embedding.index,
    ):
        return
    raise LifecycleError(
        f"Embedding {embedding.name!r} has a column of {embedding.type} and a graph of "
        f"{embedding.index} already, and neither is changed in place.",
        hint="Name one more with --as; it takes the vectors of this one.",
    )


def _agreed(question: str) -> bool:
    """Return whether somebody says yes; who is not there or leaves has not."""
    try:
        return click.confirm(question)
    except click.Abort:
        click.echo()
        return False


def _kept(index: RegisteredIndex, old: str, embedding: str) -> Iterator[str]:
    """Yield what an embedding is that was not activated, and what may become of it."""
    (new,) = (each for each in index.embeddings if each.name == embedding)
    yield f"{index.name}: {old} answers as before; {embedding} is ready, and kept up to date."
    yield f"To activate it later: pgsearch activate {index.name} {embedding}"
    yield f"For a share of the queries: pgsearch canary {index.name} {embedding} --share 10%"
    yield "Where the search index is declared, declare the same:"
    yield f"  Embedding({_arguments(new)}), and active={old!r}"


def _arguments(embedding: RegisteredEmbedding) -> str:
    """Return what is written in an embedding's declaration."""
    written = [repr(embedding.name), repr(embedding.model)]
    if embedding.type != "vector":
        written.append(f"type={embedding.type!r}")
    if embedding.index != embedding.type:
        written.append(f"index={embedding.index!r}")
    return ", ".join(written)


def _described(model: Model) -> str:
    revision = f" at {model.revision}" if model.revision else ""
    return f"{model.name}{revision}, {model.dimensions} dimensions"


def filled(
    connection: Connection, worker: Worker, index: RegisteredIndex, embedding: str
) -> RegisteredIndex:
    """Work until an embedding is ready, together with other workers; return the search index.

    Raises:
        EmbeddingFailed: Its model has failed on documents.
        LifecycleError: It was retired meanwhile.
        DatabaseError: It was dropped meanwhile.
    """
    from pgsearch import registry

    while True:
        report = worker.drain()
        (found,) = registry.read(connection, index.name)
        state = _state(found, embedding)
        if state in ("ready", "active"):
            return found
        if report.problems:
            raise report.problems[0]
        if report.failed or report.parked:
            raise EmbeddingFailed(
                f"The model of {embedding} failed on {max(report.failed, report.parked):,} "
                f"documents, so that it is {state} still.",
                hint="`pgsearch status` shows the error; run this again to go on.",
            )
        # Another worker has leased what is left, or builds the index.
        time.sleep(_LOOK_S)


def _state(index: RegisteredIndex, name: str) -> str:
    for embedding in index.embeddings:
        if embedding.name == name:
            if embedding.state == "retired":
                raise LifecycleError(
                    f"Embedding {name!r} of search index {index.name} was retired meanwhile.",
                    hint="Run this again to restore it.",
                )
            return embedding.state
    raise DatabaseError(
        f"Embedding {name!r} of search index {index.name} was dropped meanwhile.",
        hint="Run this again to add it anew.",
    )
