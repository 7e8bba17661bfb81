"""How `pgsearch init` shows and writes a change."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pgsearch.errors import Error
from pgsearch.project.change import Change, write

CONTENTS = [
    (None, b"a = 1\n"),
    (None, b"a = 1"),
    (b"a = 1\nb = 2\n", b"a = 1\nc = 3\nb = 2\n"),
    (b"a = 1\r\nb = 2\r\n", b"a = 1\r\nc = 3\r\nb = 2\r\n"),
    (b"a = 1", b"a = 1\nb = 2"),
    (b"\xef\xbb\xbfa = 1\n", b"\xef\xbb\xbfa = 1\nb = 2\n"),
    (b"a = '\x0c'\n", b"a = '\x0c'\nb = '\xe2\x80\xa8'\n"),
]


@pytest.mark.parametrize(("before", "after"), CONTENTS)
def test_a_diff_is_one_for_git(before: bytes | None, after: bytes, tmp_path: Path) -> None:
    path = tmp_path / "migrations" / "env.py"
    path.parent.mkdir()
    if before is not None:
        path.write_bytes(before)
    diff = "".join(Change(path, before, after).diff(tmp_path))
    subprocess.run(["git", "apply", "-"], input=diff.encode(), cwd=tmp_path, check=True)
    assert path.read_bytes() == after


@pytest.mark.parametrize(("before", "after"), CONTENTS)
def test_a_file_is_written_and_keeps_its_mode(
    before: bytes | None, after: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "env.py"
    if before is not None:
        path.write_bytes(before)
        path.chmod(0o640)
    write([Change(path, before, after)])
    assert path.read_bytes() == after
    assert list(tmp_path.iterdir()) == [path]
    if before is not None:
        assert path.stat().st_mode & 0o777 == 0o640


def test_a_link_stays_one(tmp_path: Path) -> None:
    real, link = tmp_path / "real.py", tmp_path / "env.py"
    real.write_bytes(b"a\n")
    link.symlink_to("real.py")
    write([Change(link, b"a\n", b"b\n")])
    assert link.is_symlink()
    assert real.read_bytes() == b"b\n"


@pytest.mark.parametrize("now", [None, b"mine\n"])
def test_nothing_is_written_if_one_file_has_changed(now: bytes | None, tmp_path: Path) -> None:
    new, old = tmp_path / "search.py", tmp_path / "env.py"
    if now is not None:
        old.write_bytes(now)
    with pytest.raises(Error, match=r"env.py has changed since the diff was made"):
        write([Change(new, None, b"a\n"), Change(old, b"before\n", b"after\n")])
    assert not new.exists()
    assert (old.read_bytes() if old.exists() else None) == now


def test_a_file_that_has_come_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "search.py"
    path.write_bytes(b"mine\n")
    with pytest.raises(Error, match="nothing was written"):
        write([Change(path, None, b"ours\n")])
    assert path.read_bytes() == b"mine\n"


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(Error, match=r"search.py cannot be written: No such file or directory"):
        write([Change(tmp_path / "nowhere" / "search.py", None, b"a\n")])
