"""How autogenerate writes the operations into a migration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext

from pgsearch.alembic import operations as op
from pgsearch.declare import Model
from pgsearch.definition import Chunking


def _call(context: AutogenContext, name: str, *positional: Any, **named: Any) -> str:
    """Return a call of an operation, an argument a line where there are many."""
    arguments = [_value(context, value) for value in positional]
    arguments += [
        f"{key}={_value(context, value)}" for key, value in named.items() if value is not None
    ]
    prefix = context.opts["alembic_module_prefix"] or ""
    line = f"{prefix}{name}({', '.join(arguments)})"
    if len(line) <= 92:
        return line
    return f"{prefix}{name}(\n" + "".join(f"    {a},\n" for a in arguments) + ")"


def _value(context: AutogenContext, value: Any) -> str:
    if isinstance(value, (Model, Chunking)):
        name = type(value).__name__
        context.imports.add(f"from pgsearch import {name}")
        return f"{name}({', '.join(_fields(value))})"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, Mapping):
        items = (f"{_string(k)}: {_string(v)}" for k, v in value.items())
        return "{" + ", ".join(items) + "}"
    return repr(value)


def _fields(value: Model | Chunking) -> list[str]:
    """Return a declaration's arguments that differ from their defaults, the name first."""
    written = []
    for field in fields(value):
        content = getattr(value, field.name)
        text = _string(content) if isinstance(content, str) else repr(content)
        if field.name == "name":
            written.append(text)
        elif content != field.default:
            written.append(f"{field.name}={text}")
    return written


def _string(value: str) -> str:
    """Return a string literal in double quotes where it can have them, as formatters want it."""
    text = repr(value)
    return f'"{text[1:-1]}"' if text[0] == "'" and '"' not in value else text


@cache
def register() -> None:
    """Tell Alembic how to write each operation; the first call does it."""

    @renderers.dispatch_for(op.InstallOp)
    def _install(context: AutogenContext, operation: op.InstallOp) -> str:
        return _call(context, "pgsearch_install", version=operation.version)

    @renderers.dispatch_for(op.UninstallOp)
    def _uninstall(context: AutogenContext, operation: op.UninstallOp) -> str:  # noqa: ARG001
        return _call(context, "pgsearch_uninstall")

    @renderers.dispatch_for(op.CreateSearchIndexOp)
    def _create(context: AutogenContext, operation: op.CreateSearchIndexOp) -> str:
        return _call(
            context,
            "create_search_index",
            operation.name,
            operation.table,
            key=operation.key,
            text=operation.text,
            language=operation.language,
            filters=operation.filters or None,
            chunking=operation.chunking,
            schema=operation.schema,
        )

    @renderers.dispatch_for(op.DropSearchIndexOp)
    def _drop(context: AutogenContext, operation: op.DropSearchIndexOp) -> str:
        return _call(
            context,
            "drop_search_index",
            operation.name,
            operation.table,
            schema=operation.schema,
        )

    @renderers.dispatch_for(op.AddEmbeddingOp)
    def _add(context: AutogenContext, operation: op.AddEmbeddingOp) -> str:
        embedding = operation.embedding
        return _call(
            context,
            "add_embedding",
            operation.index,
            embedding.name,
            embedding.model,
            m=embedding.m if embedding.m != 16 else None,
            ef_construction=embedding.ef_construction if embedding.ef_construction != 64 else None,
            schema=operation.schema,
        )

    @renderers.dispatch_for(op.DropEmbeddingOp)
    def _drop_embedding(context: AutogenContext, operation: op.DropEmbeddingOp) -> str:
        return _call(
            context,
            "drop_embedding",
            operation.index,
            operation.name,
            deactivate=True if operation.deactivate else None,
            schema=operation.schema,
        )

    @renderers.dispatch_for(op.ActivateEmbeddingOp)
    def _activate(context: AutogenContext, operation: op.ActivateEmbeddingOp) -> str:
        return _call(
            context,
            "activate_embedding",
            operation.index,
            operation.name,
            when_ready=True if operation.when_ready else None,
            schema=operation.schema,
        )

    @renderers.dispatch_for(op.DeactivateEmbeddingOp)
    def _deactivate(context: AutogenContext, operation: op.DeactivateEmbeddingOp) -> str:
        return _call(
            context,
            "deactivate_embedding",
            operation.index,
            operation.name,
            schema=operation.schema,
        )
