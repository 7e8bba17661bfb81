"""`pgsearch distill`: build the encoder that makes vectors of queries in the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pgsearch.cli import console
from pgsearch.errors import LifecycleError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich import progress as bars

    from pgsearch.encoder import Distilled, Step
    from pgsearch.registry import RegisteredEmbedding, RegisteredIndex

_WORDS = {
    "read": "reading passages",
    "embed": "vectors of the model",
    "train": "training",
    "compare": "vectors to compare with",
    "write": "writing",
}


@click.command()
@click.argument("index")
@click.argument("embedding", required=False)
@click.option(
    "--at-least",
    type=click.IntRange(1),
    help="Leave out words in fewer documents. By default none, and under row-level security "
    "those in fewer than 20.",
)
@click.option("--texts", type=click.IntRange(100), default=5_000, show_default=True,
              help="Short texts to learn from, whose vectors the model makes.")  # fmt: skip
@click.option("--off", is_flag=True, help="Take the encoder away, and let workers build none.")
@click.pass_obj
def command(
    url: str | None,
    index: str,
    embedding: str | None,
    at_least: int | None,
    texts: int,
    off: bool,
) -> None:
    """Build the encoder of an embedding: then a search with text alone has a vector, too.

    Without an EMBEDDING it is the active one. Workers do the same by themselves when an embedding
    becomes ready, and again when much has changed; this does it now, whatever has changed.
    """
    from pgsearch import database, encoder, models, registry
    from pgsearch.models import fingerprint

    with database.connect(console.use_database(url), row_security=True) as connection:
        (asked,) = registry.read(connection, index)
        registry.require_sight(connection, [asked])
        chosen = _chosen(asked, embedding)
        if off:
            encoder.switch_off(connection, asked, chosen)
            click.echo(f"{chosen.name}: no encoder. Text alone asks by keywords.")
            return
        model = models.load(chosen.model)
        if chosen.fingerprint:
            fingerprint.verify(model, chosen.fingerprint, model_name=chosen.model.name)
        with console.progress() as display:
            built = encoder.distill(
                connection,
                asked,
                chosen,
                model,
                is_asked=True,
                at_least=at_least,
                size=encoder.Size(texts=texts),
                on_step=show(display),
            )
    assert built is not None, "what is asked for is built"
    click.echo(summary(built))


def _chosen(index: RegisteredIndex, name: str | None) -> RegisteredEmbedding:
    """Return the embedding that is named, or the active one."""
    found = index.active if name is None else None
    if name is not None:
        found = next((e for e in index.embeddings if e.name == name), None)
    if found is None:
        what = "active embedding" if name is None else f"embedding {name!r}"
        raise LifecycleError(
            f"Search index {index.name} has no {what}.",
            hint="`pgsearch status` shows those that there are; `pgsearch sync` makes them ready.",
        )
    if found.state not in ("ready", "active"):
        raise LifecycleError(
            f"Embedding {found.name!r} of search index {index.name} is {found.state}.",
            hint="Run `pgsearch sync` first; its encoder is built of its passages.",
        )
    return found


def show(display: bars.Progress) -> Callable[[Step], None]:
    """Return what shows how far an encoder is, with a bar for each step."""
    tasks: dict[str, bars.TaskID] = {}

    def update(step: Step) -> None:
        if step.name not in tasks:
            tasks[step.name] = display.add_task(_WORDS[step.name], total=step.total)
        # Less is to be done if the model turns out to be slow.
        display.update(tasks[step.name], total=step.total, advance=step.done)

    return update


def summary(built: Distilled) -> str:
    """Return what was built, in one line."""
    fidelity = built.fidelity
    near = ""
    if fidelity.neighbours is not None:
        near = f", {10 * fidelity.neighbours:.1f} of the model's 10 nearest passages"
    return (
        f"{built.embedding}: encoder {built.version}, {built.tokens:,} tokens, in "
        f"{built.seconds:.0f} s. On {fidelity.texts:,} texts kept apart: cosine "
        f"{fidelity.cosine:.3f} to the model{near}."
    )
