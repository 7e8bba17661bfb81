"""The demo's first model: of each token the vector by which the real model begins, and their mean.

It is made in a second and computes some thousand texts in another few, but knows nothing of how
words stand together: a model that one would replace.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Final

from pgsearch import embedded
from pgsearch.canonical import MINILM
from pgsearch.declare import Model
from pgsearch.models import packaged

NAME: Final = "static_v1"

_WEIGHTS: Final = "embeddings.word_embeddings.weight"


def model() -> Model:
    """Return the first model, whose folder is made unless it is there."""
    folder = embedded.data_folder() / "models" / "minilm-tokens"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        _make(folder)
    return Model(str(folder), dimensions=MINILM.dimensions)


def _make(folder: Path) -> None:
    """Write the model's files: all of them, or none."""
    from safetensors import safe_open
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, StaticEmbedding
    from tokenizers import Tokenizer

    source = packaged.find(MINILM.name, MINILM.revision)
    assert source is not None, "the demo's packages are there"
    with safe_open(source / "model.safetensors", "np") as weights:
        vectors = weights.get_tensor(_WEIGHTS)
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    modules = [StaticEmbedding(tokenizer, embedding_weights=vectors), Normalize()]
    unfinished = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        SentenceTransformer(modules=modules, device="cpu").save_pretrained(
            str(unfinished), create_model_card=False
        )
        unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
