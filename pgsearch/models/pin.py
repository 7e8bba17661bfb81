"""Pinning a model that was only named: its commit on the hub, and the length of its vectors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from pgsearch import models
from pgsearch.declare import Model
from pgsearch.errors import DeclarationError, ModelUnavailable
from pgsearch.models import packaged

#: Seconds that the hub has to say what the commit is.
_HUB_TIMEOUT_S: Final = 10.0

#: Stands for a length that is not known yet.
_ANY: Final = 1


def pinned(
    name: str,
    *,
    dimensions: int | None = None,
    revision: str | None = None,
    provider: str = "sentence-transformers",
    **options: Any,
) -> Model:
    """Return a model's declaration, with what was left out found out.

    Args:
        name: As in `Model`.
        dimensions: Length of its vectors; None to ask the model, which is loaded for it.
        revision: A hub commit, branch or tag; None for the newest commit.
        provider: As in `Model`.
        **options: All else that a `Model` has.

    Raises:
        DeclarationError: The declaration cannot work.
        ModelUnavailable: The hub cannot be asked, or the model cannot be loaded.
    """
    is_local = name.startswith(("/", ".", "~"))
    if provider == "sentence-transformers" and not is_local:
        revision = _commit(name, revision)
    if provider == "hash" and dimensions is None:
        raise DeclarationError(
            f"Model {name!r} of the provider hash has vectors of any length.",
            hint="Name one: --dimensions 64.",
        )
    options |= {"revision": revision, "provider": provider}
    model = Model(name, dimensions=dimensions or _ANY, **options)
    return model if dimensions else replace(model, dimensions=models.measure(model))


def _commit(name: str, revision: str | None) -> str:
    """Return the commit of a hub model; without the hub, what a package or its cache has."""
    if revision is not None and _is_commit(revision):
        return revision
    carried = packaged.PACKAGED.get(name)
    if revision is None and carried is not None and packaged.find(name) is not None:
        return carried.revision
    try:
        import huggingface_hub
        from huggingface_hub import constants
    except ImportError as error:
        raise ModelUnavailable(
            f"Model {name!r} needs the library sentence-transformers: {error}.",
            hint='Install it: pip install "pgsearch[local]"',
        ) from error
    try:
        found = huggingface_hub.model_info(name, revision=revision, timeout=_HUB_TIMEOUT_S).sha
    except Exception as error:
        folder = "models--" + name.replace("/", "--")
        cached = Path(constants.HF_HUB_CACHE, folder, "refs", revision or "main")
        if cached.is_file():
            return cached.read_text(encoding="ascii").strip()
        raise ModelUnavailable(
            f"The commit of model {name!r} could not be asked of the Hugging Face hub: "
            f"{' '.join(str(error).split())}",
            hint="Check the name and the network, or name the commit yourself: --revision.",
        ) from error
    if found is None:
        raise ModelUnavailable(
            f"The Hugging Face hub names no commit of model {name!r}.",
            hint="Name it yourself: --revision.",
        )
    return str(found)


def _is_commit(revision: str) -> bool:
    return len(revision) == 40 and set(revision) <= set("0123456789abcdef")
