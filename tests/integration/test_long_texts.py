"""A text of 50 MB from the trigger to its vectors; what triggers make of 5 MB is elsewhere."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

from pgsearch import database as product
from pgsearch.declare import Chunking
from pgsearch.testing import HashEmbedder
from tests.plugins.worker import CREATE_STORY, STORY, create_search_index, url_of

SIZE = 50_000_000

#: A worker in a process of its own, so that its memory is nobody else's; MB at its peak. What
#: getrusage calls a process's peak may be that of the process which started it.
WORKER = """
import json
import re
import sys
from pathlib import Path

from pgsearch.sync import Worker

report = Worker(sys.argv[1]).drain()
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024
print(json.dumps({"documents": report.documents, "failed": report.failed, "peak": peak}))
"""


def words() -> str:
    """Return 50 MB of words, so many of them different that no tsvector holds them all."""
    different = [f"{n}{'elephants' * 5}" for n in range(20_000)]
    return " ".join(different[n * 7919 % len(different)] for n in range(SIZE // 50))


def one_word() -> str:
    """Return 50 MB of letters without a space, no two passages alike."""
    letters = bytes.maketrans(b"0123456789", b"ghijklmnop")
    digests = (hashlib.sha512(str(n).encode()).hexdigest() for n in range(SIZE // 128))
    return "".join(digests).translate({digit: letters[digit] for digit in range(48, 58)})


@pytest.mark.parametrize("made", [words, one_word])
def test_a_text_of_50_mb_is_embedded_to_its_end(
    installed: product.Connection, made: Callable[[], str]
) -> None:
    db, text = installed, made()
    db.execute(CREATE_STORY)
    create_search_index(db, replace(STORY, chunking=Chunking(overlap=0)))
    db.execute("INSERT INTO story (id, title, body) VALUES (1, 'found by its title', %s)", [text])
    assert db.execute("SELECT id FROM story_search('title')").fetchall() == [(1,)]

    worked = subprocess.run(
        [sys.executable, "-c", WORKER, url_of(db)], capture_output=True, text=True, check=True
    )
    said = json.loads(worked.stdout)
    # It has the text some six times over, in libpq's buffers and in its own.
    assert said.pop("peak") < 10 * SIZE // 1_000_000
    assert said == {"documents": 1, "failed": 0}

    assert db.execute("SELECT count(*) FROM story_search_queue").fetchone() == (0,)
    chunks = db.execute(
        "SELECT content, ordinal, content_hash = sha256(convert_to(content, 'UTF8')),"
        " generation = (SELECT generation FROM story_search_document),"
        " embedding_hash_v1 IS NULL FROM story_search_chunk ORDER BY ordinal"
    ).fetchall()
    assert [row[1:] for row in chunks] == [(n, True, True, False) for n in range(len(chunks))]
    whole = "".join(content for content, *_ in chunks).replace(" ", "")
    assert whole.endswith(text.replace(" ", ""))
    last = chunks[-1][0]
    assert db.execute(
        "SELECT passage FROM story_search(%s, k => 1, vector => %s, mode => 'vector')",
        [last[:60], HashEmbedder(64).embed_queries([last])[0]],
    ).fetchall() == [(last,)]
