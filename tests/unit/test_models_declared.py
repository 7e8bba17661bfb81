"""What a Model declares beside its name: kept in the registry, rendered into migrations."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from pgsearch import Embedding, Model
from pgsearch.alembic import render
from pgsearch.alembic.embeddings import AddEmbeddingOp
from pgsearch.errors import DeclarationError

HUB = Model("some/model", revision="a" * 40, dimensions=384)
OPENAI = Model("text-embedding-3-small", provider="openai", dimensions=512)
FULL = replace(
    OPENAI,
    url="https://tei.internal/v1",
    key_variable="TEI_API_KEY",
    max_tokens=512,
    tokenizer="/models/tei",
    truncate=True,
)

#: What the first version of pgsearch wrote into registries.
FIRST = {
    "name": "some/model",
    "dimensions": 384,
    "revision": "a" * 40,
    "provider": "sentence-transformers",
    "query_prompt": "",
    "document_prompt": "",
    "normalize": True,
}


def refused(**fields: Any) -> DeclarationError:
    with pytest.raises(DeclarationError) as caught:
        Model(**{"name": "./m", "dimensions": 8, **fields})
    assert caught.value.hint
    return caught.value


def test_models_in_registries_are_what_they_were() -> None:
    assert Model.from_json(FIRST) == HUB
    assert HUB.to_json() == FIRST


@pytest.mark.parametrize("model", [HUB, OPENAI, FULL, replace(HUB, precision="float16")])
def test_the_registry_gives_back_what_it_got(model: Model) -> None:
    assert Model.from_json(json.loads(json.dumps(model.to_json()))) == model


def test_what_a_later_version_wrote_is_refused_by_name() -> None:
    with pytest.raises(DeclarationError, match=r"'some/model'.*sparse, tongue") as caught:
        Model.from_json(FIRST | {"sparse": True, "tongue": "en"})
    assert "Install the version of pgsearch" in str(caught.value.hint)


@pytest.mark.parametrize("model", [HUB, OPENAI, FULL, replace(HUB, truncate=True)])
def test_a_migration_makes_the_same_model(model: Model) -> None:
    made: list[Model] = []
    operation = AddEmbeddingOp("article_search", Embedding("v1", model))
    code = render.code(operation)

    class op:  # as in a migration
        @staticmethod
        def add_embedding(index: str, name: str, model: Model) -> None:
            made.append(model)

    exec(code, {"op": op})
    assert made == [model]
    if model is HUB:
        assert "precision" not in code
        assert "url" not in code


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"precision": "float64"}, "'float64'"),
        ({"max_tokens": 0, "provider": "openai"}, "max_tokens=0"),
        ({"url": "https://host/v1"}, "makes nothing of url"),
        ({"key_variable": "A_KEY"}, "makes nothing of key_variable"),
        ({"max_tokens": 512}, "makes nothing of max_tokens"),
        ({"tokenizer": "./m"}, "makes nothing of tokenizer"),
        ({"provider": "openai", "precision": "float16"}, "makes nothing of precision"),
        ({"provider": "openai", "url": "host/v1"}, "http:// or https://"),
        ({"provider": "openai", "url": "https://"}, "http:// or https://"),
        ({"provider": "openai", "url": "https://host:99999/v1"}, "malformed"),
        ({"provider": "openai", "url": "https://höst/v1"}, "characters"),
    ],
)
def test_what_cannot_work_is_refused(fields: dict[str, Any], named: str) -> None:
    error = refused(**fields)
    assert named in error.message
    assert "'./m'" in error.message


def test_a_provider_from_elsewhere_may_use_every_field() -> None:
    assert replace(FULL, provider="divination", precision="float16").url == FULL.url


@pytest.mark.parametrize(
    "url", ["https://host/v1", "http://127.0.0.1:11434/v1", "http://[::1]/v1", "TEI_URL"]
)
def test_addresses_are_accepted(url: str) -> None:
    assert replace(OPENAI, url=url).url == url
