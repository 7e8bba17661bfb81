"""Providers that other packages bring, by an entry point."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pgsearch import Model
from pgsearch.errors import EmbeddingFailed, ModelMismatch, ModelUnavailable
from pgsearch.models import PROVIDERS, load
from pgsearch.testing import HashEmbedder

MODULE = """
from pgsearch.errors import EmbeddingFailed
from pgsearch.testing import HashEmbedder

def load(model):
    return HashEmbedder(model.dimensions)

def shorter(model):
    return HashEmbedder(model.dimensions - 1)

def broken(model):
    raise KeyError("crystal ball")

def throws(model):
    raise EmbeddingFailed("the stars are hidden", hint="Wait for the night.")

def nothing(model):
    return None
"""


class Site:
    """A folder on `sys.path` into which packages are installed, as pip would leave them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "divining.py").write_text(MODULE)

    def install(self, package: str, **providers: str) -> None:
        info = self.folder / f"{package.replace('-', '_')}-1.2.3.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2.3\n")
        lines = "".join(f"{name} = {value}\n" for name, value in providers.items())
        (info / "entry_points.txt").write_text(f"[pgsearch.models]\n{lines}")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    site = Site(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "divining", raising=False)
    return site


def refused(provider: str) -> ModelUnavailable:
    with pytest.raises(ModelUnavailable) as caught:
        load(Model("tea-leaves", dimensions=8, provider=provider))
    return caught.value


def test_a_package_brings_a_provider(site: Site) -> None:
    site.install("divining-pgsearch", divination="divining:load")
    model = Model("tea-leaves", dimensions=8, provider="divination", precision="bfloat16")
    embedder = load(model)
    assert isinstance(embedder, HashEmbedder)
    assert embedder.dimensions == 8
    assert load(model) is embedder


def test_it_does_not_replace_a_provider_of_pgsearch(site: Site) -> None:
    site.install("impostor", hash="divining:broken")
    assert isinstance(load(Model("hash-9", dimensions=9, provider="hash")), HashEmbedder)


def test_an_unknown_provider_is_answered_with_all_that_there_are(site: Site) -> None:
    site.install("divining-pgsearch", divination="divining:load", scrying="divining:load")
    error = refused("dowsing")
    assert "'dowsing'" in error.message
    for name in (*PROVIDERS, "divination", "scrying"):
        assert repr(name) in str(error.hint)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("nowhere_to_be_found:load", "ModuleNotFoundError"),
        ("divining:absent", "AttributeError"),
        ("divining:broken", "KeyError: 'crystal ball'"),
        ("not an entry point", "AttributeError"),
        ("divining:nothing", "NoneType, which is no Embedder"),
    ],
)
def test_a_broken_one_is_named_with_its_package(site: Site, value: str, reason: str) -> None:
    site.install("divining-pgsearch", broken=value)
    error = refused("broken")
    assert "divining-pgsearch 1.2.3" in error.message
    assert "'broken'" in error.message
    assert reason in error.message


def test_its_own_errors_are_left_as_they_are(site: Site) -> None:
    site.install("divining-pgsearch", throwing="divining:throws")
    with pytest.raises(EmbeddingFailed, match="the stars are hidden"):
        load(Model("tea-leaves", dimensions=8, provider="throwing"))


def test_its_dimensions_are_checked(site: Site) -> None:
    site.install("divining-pgsearch", short="divining:shorter")
    with pytest.raises(ModelMismatch, match="7 dimensions") as caught:
        load(Model("tea-leaves", dimensions=8, provider="short"))
    assert "truncate" not in str(caught.value.hint)


def test_two_packages_may_not_bring_the_same_name(site: Site) -> None:
    site.install("one", divination="divining:load")
    site.install("two", divination="divining:shorter")
    error = refused("divination")
    assert "one 1.2.3 and two 1.2.3" in error.message
