"""How autogenerate writes the operations into a migration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import MigrateOperation
from alembic.runtime.migration import MigrationContext

from pgsearch.alembic import embeddings, grants, operations, reindex
from pgsearch.alembic.common import NothingOp, PgsearchOp
from pgsearch.alembic.mend import MendOp
from pgsearch.declare import Model
from pgsearch.definition import BM25, Chunking, Expression


def _call(context: AutogenContext, name: str, *positional: Any, **named: Any) -> str:
    """Return a call of an operation, an argument a line where there are many."""
    arguments = [_value(context, value) for value in positional]
    arguments += [f"{key}={_value(context, value)}" for key, value in named.items()]
    prefix = context.opts["alembic_module_prefix"] or ""
    line = f"{prefix}{name}({', '.join(arguments)})"
    if len(line) <= 92:
        return line
    return f"{prefix}{name}(\n" + "".join(f"    {a},\n" for a in arguments) + ")"


def _value(context: AutogenContext, value: Any) -> str:
    if isinstance(value, (BM25, Model, Chunking, Expression)):
        name = type(value).__name__
        context.imports.add(f"from pgsearch import {name}")
        return f"{name}({', '.join(_fields(value))})"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, Mapping):
        items = (f"{_string(k)}: {_value(context, v)}" for k, v in value.items())
        return "{" + ", ".join(items) + "}"
    return _literal(value)


def _fields(value: BM25 | Model | Chunking | Expression) -> list[str]:
    """Return a declaration's arguments that differ from their defaults, its name or SQL first."""
    written = []
    for field in fields(value):
        content = getattr(value, field.name)
        if field.name == "weights":
            content = dict(content)
        text = _literal(content)
        if field.name in ("name", "sql"):
            written.append(text)
        elif content not in (field.default, {}):
            written.append(f"{field.name}={text}")
    return written


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_literal, value)) + "]"
    return repr(value)


def _string(value: str) -> str:
    """Return a string literal in double quotes where it can have them, as formatters want it."""
    text = repr(value)
    return f'"{text[1:-1]}"' if text[0] == "'" and '"' not in value else text


#: What a whole definition is written with; None is always written.
_DEFINITION: dict[str, Any] = {
    "key": None,
    "text": None,
    "language": None,
    "language_column": None,
    "filters": {},
    "chunking": None,
    "stale": "serve",
    "bm25": BM25(),
    "notify": False,
    "schema": None,
}

_HNSW: dict[str, Any] = {"m": 16, "ef_construction": 64}
_PRECISION: dict[str, Any] = {"vector_type": "vector", "index_type": None}

#: Of each operation: its name in a migration, and the attributes it is called with, in order and
#: by name. What has its default is left out.
_CALLS: dict[type[PgsearchOp], tuple[str, tuple[str, ...], dict[str, Any]]] = {
    operations.InstallOp: ("pgsearch_install", (), {"version": None}),
    operations.UninstallOp: ("pgsearch_uninstall", (), {}),
    operations.CreateSearchIndexOp: ("create_search_index", ("name", "table"), _DEFINITION),
    operations.AlterSearchIndexOp: (
        "alter_search_index",
        ("name", "table"),
        _DEFINITION | {"refill": False},
    ),
    operations.SuspendSearchIndexOp: (
        "suspend_search_index",
        ("name", "table"),
        {"filters": False, "schema": None},
    ),
    operations.ReindexSearchIndexOp: (
        "reindex_search_index",
        ("name", "table"),
        {"key": None, "schema": None},
    ),
    operations.DropSearchIndexOp: ("drop_search_index", ("name", "table"), {"schema": None}),
    embeddings.AddEmbeddingOp: (
        "add_embedding",
        ("index", "name", "model"),
        _HNSW | _PRECISION | {"price": None, "schema": None},
    ),
    embeddings.AdoptEmbeddingOp: (
        "adopt_embedding",
        ("index", "name", "model"),
        {"column": None} | _HNSW | _PRECISION | {"price": None, "schema": None},
    ),
    reindex.ReindexEmbeddingOp: (
        "reindex_embedding",
        ("index", "name"),
        _HNSW | _PRECISION | {"dimensions": None, "schema": None},
    ),
    embeddings.DropEmbeddingOp: (
        "drop_embedding",
        ("index", "name"),
        {"deactivate": False, "schema": None},
    ),
    embeddings.ActivateEmbeddingOp: (
        "activate_embedding",
        ("index", "name"),
        {"when_ready": False, "schema": None},
    ),
    embeddings.DeactivateEmbeddingOp: ("deactivate_embedding", ("index", "name"), {"schema": None}),
    embeddings.RetireEmbeddingOp: ("retire_embedding", ("index", "name"), {"schema": None}),
    embeddings.RestoreEmbeddingOp: ("restore_embedding", ("index", "name"), {"schema": None}),
    grants.GrantSearchOp: ("grant_search", ("index", "role"), {"schema": None}),
    grants.RevokeSearchOp: ("revoke_search", ("index", "role"), {"schema": None}),
    grants.GrantWorkerOp: ("grant_worker", ("index", "role"), {"schema": None}),
    grants.RevokeWorkerOp: ("revoke_worker", ("index", "role"), {"schema": None}),
}


def _render(context: AutogenContext, operation: PgsearchOp) -> str:
    name, positional, named = _CALLS[type(operation)]
    written = {
        key: value
        for key, default in named.items()
        if (value := getattr(operation, key)) != default and value is not None
    }
    return _call(context, name, *(getattr(operation, key) for key in positional), **written)


@cache
def register() -> None:
    """Tell Alembic how to write each operation; the first call does it."""
    for operation in _CALLS:
        renderers.dispatch_for(operation)(_render)
    renderers.dispatch_for(NothingOp)(lambda *_: [])
    renderers.dispatch_for(MendOp)(_render_mending)


def _render_mending(context: AutogenContext, mending: MendOp) -> list[str]:
    return [_rendered(context, operation) for operation in mending.operations]


def _rendered(context: AutogenContext, operation: MigrateOperation) -> str:
    lines = renderers.dispatch(operation)(context, operation)
    return lines if isinstance(lines, str) else "\n".join(lines)


def code(*migration: MigrateOperation) -> str:
    """Return operations as they are pasted into a migration, after the imports that they need."""
    register()
    opts = {"alembic_module_prefix": "op.", "sqlalchemy_module_prefix": "sa."}
    context = AutogenContext(
        MigrationContext.configure(dialect_name="postgresql"), opts=opts, autogenerate=False
    )
    calls = [_rendered(context, operation) for operation in migration]
    imports = sorted(context.imports)
    return "\n".join([*imports, *([""] if imports else []), *calls])
