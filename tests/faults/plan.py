"""What one run does, drawn from its seed: writers' scripts, and what happens around them.

A script is the same with and without pgsearch, and none of its statements depends on what others
did: an INSERT passes over a key that is there, an UPDATE or a DELETE over one that is not. So in
two of the three kinds of runs PostgreSQL alone gives no writer a reason to fail.

own keys
    Each writer has a range of keys of its own, so that writers meet nowhere. Only one of them is
    SERIALIZABLE, and a serialization failure takes two.
serializable
    Several are. They change rows of their own by primary key, one row a page and none of it in
    another index: no two of them read or write the same page, but for those of the primary key,
    which they only read. Keys come back by the hand of a writer who is not SERIALIZABLE.
shared keys
    All change the same rows: REPEATABLE READ and SERIALIZABLE have reasons to fail. In every
    transaction keys ascend, so that nobody waits in a circle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

from tests.plugins.worker import SENTENCES

READ_COMMITTED = "READ COMMITTED"
REPEATABLE_READ = "REPEATABLE READ"
SERIALIZABLE = "SERIALIZABLE"

OWN_KEYS = "own keys"
SERIALIZABLE_KEYS = "serializable"
SHARED_KEYS = "shared keys"

#: The model refuses every text with this word, until it is cured.
POISON = "Hemlock"

#: Keys of a writer: from its number times RANGE, so many of them, and one that is used in between.
RANGE, KEYS, SPARE = 100, 24, 99

#: How many of its keys a writer uses: with few, workers meet the same ones over and over.
_USED_KEYS = (6, KEYS)

#: Keys that all writers share.
SHARED = range(1, 13)

_TRANSACTIONS = 56
_TITLES = (None, "", "A storm", "The village in winter", "Harbour notes of a long night " * 6)

#: Relative to other kinds; one that a table or a kind of run has not is left out.
_WEIGHTS = {
    "insert": 6,
    "insert_many": 1,
    "upsert": 3,
    "merge": 1,
    "edit": 8,
    "edit_many": 2,
    "retitle": 2,
    "empty": 2,
    "touch": 2,
    "delete": 3,
    "delete_many": 1,
    "replace": 2,
    "rekey": 3,
    "swap": 2,
    "rotate": 2,
    "fail": 1,
    "read": 1,
    "count": 1,
}
_NEED_ON_CONFLICT = {"upsert", "merge"}
_NEED_DEFERRABLE = {"rotate"}
_OF_SERIALIZABLE = {"edit", "retitle", "empty", "touch", "delete", "read"}
_OF_SHARED = {"insert", "upsert", "edit", "retitle", "empty", "touch", "delete", "replace", "away"}


class Statement(NamedTuple):
    """One statement of a transaction.

    Args:
        text: The statement.
        parameters: Its parameters.
        pause_s: Seconds to wait before it.
        fails: The SQLSTATE that it ends with, whoever else does what.
    """

    text: str
    parameters: tuple[Any, ...] = ()
    pause_s: float = 0.0
    fails: str | None = None


class Transaction(NamedTuple):
    """What is done together; and taken back, unless it commits."""

    statements: tuple[Statement, ...]
    commits: bool


@dataclass(frozen=True)
class Script:
    """All that one writer does."""

    isolation: str
    transactions: tuple[Transaction, ...]


@dataclass(frozen=True)
class Plan:
    """One run.

    Args:
        seed: What it was drawn from.
        kind: Whose keys are whose; see above.
        deferrable: Whether the primary key may be violated within a statement.
        created_meanwhile: Whether the search index comes when writers are at work already; else
            it is there before them, and not yet filled.
        added_meanwhile: Whether an embedding is added to the two that are there.
        truncates: Whether a writer empties the table now and then.
        scripts: What the writers do.
    """

    seed: int
    kind: str
    deferrable: bool
    created_meanwhile: bool
    added_meanwhile: bool
    truncates: bool
    scripts: tuple[Script, ...]

    def __str__(self) -> str:
        notes = [
            self.kind,
            "deferrable key" if self.deferrable else "",
            "index created meanwhile" if self.created_meanwhile else "",
            "embedding added meanwhile" if self.added_meanwhile else "",
            "TRUNCATE" if self.truncates else "",
        ]
        return f"seed {self.seed} ({', '.join(filter(None, notes))})"

    @property
    def is_free_of_conflicts(self) -> bool:
        """Whether no writer has a reason to fail, beyond what its script says."""
        return self.kind != SHARED_KEYS

    @property
    def has_one_end(self) -> bool:
        """Whether the table's rows do not depend on who was first."""
        return self.kind == OWN_KEYS and not self.truncates


def plan(seed: int) -> Plan:
    """Return the run of a seed."""
    chance = Random(seed)
    kind = chance.choices([OWN_KEYS, SERIALIZABLE_KEYS, SHARED_KEYS], weights=[6, 2, 2])[0]
    deferrable = kind == OWN_KEYS and chance.random() < 0.3
    truncates = kind != SERIALIZABLE_KEYS and chance.random() < 0.25
    if kind == OWN_KEYS:
        isolations = [READ_COMMITTED, READ_COMMITTED, REPEATABLE_READ, SERIALIZABLE]
    elif kind == SERIALIZABLE_KEYS:
        isolations = [READ_COMMITTED, SERIALIZABLE, SERIALIZABLE, SERIALIZABLE]
    else:
        more = chance.choice([READ_COMMITTED, REPEATABLE_READ, SERIALIZABLE])
        isolations = [READ_COMMITTED, more, REPEATABLE_READ, SERIALIZABLE]
    used_keys = KEYS if kind == SERIALIZABLE_KEYS else chance.choice(_USED_KEYS)
    authors = [
        _Author(
            Random(chance.getrandbits(64)),
            number,
            kind,
            isolation,
            used_keys=used_keys,
            deferrable=deferrable,
        )
        for number, isolation in enumerate(isolations)
    ]
    scripts = [
        Script(isolation, author.transactions(truncates=truncates and number == 0))
        for number, (isolation, author) in enumerate(zip(isolations, authors, strict=True))
    ]
    return Plan(
        seed=seed,
        kind=kind,
        deferrable=deferrable,
        created_meanwhile=chance.random() < 0.2,
        added_meanwhile=chance.random() < 0.3,
        truncates=truncates,
        scripts=tuple(scripts),
    )


def prior_rows() -> list[tuple[int, str | None, str | None]]:
    """Return key, title and body of the rows that were there before the search index."""
    chance = Random(0)
    keys = [*SHARED, *(RANGE * number + n for number in range(1, 5) for n in range(KEYS))]
    return [(key, title(chance), body(chance)) for key in keys if key % 4]


def title(chance: Random) -> str | None:
    """Return some title."""
    return chance.choice(_TITLES)


def body(chance: Random) -> str | None:
    """Return some text: of one chunk mostly, or none, or of many; often like another one."""
    if chance.random() < 0.05:
        return chance.choice([None, ""])
    sentences = chance.choices(SENTENCES, k=chance.choice([1, 1, 1, 2, 3, 9]))
    if chance.random() < 0.6:
        sentences.append(f"It was the {chance.randrange(10**6)}th of its kind.")
    if chance.random() < 0.04:
        sentences.append(f"{POISON} grew by the wall.")
    return " ".join(sentences)


class _Author:
    """Writes the script of one writer."""

    def __init__(
        self,
        chance: Random,
        number: int,
        kind: str,
        isolation: str,
        *,
        used_keys: int,
        deferrable: bool,
    ) -> None:
        self._chance = chance
        self._deferrable = deferrable
        self._kind = kind
        self._first = RANGE * (number + 1)
        self._own = range(self._first, self._first + used_keys)
        # While the first fill is at it, which writes documents as triggers do.
        self._meanwhile = range(20 if isolation != READ_COMMITTED else 0)
        self._restores = kind == SERIALIZABLE_KEYS and isolation != SERIALIZABLE
        kinds = set(_WEIGHTS)
        kinds -= _NEED_ON_CONFLICT if deferrable else _NEED_DEFERRABLE
        if kind == SERIALIZABLE_KEYS and isolation == SERIALIZABLE:
            kinds = _OF_SERIALIZABLE
        if kind == SHARED_KEYS:
            kinds = _OF_SHARED
        self._kinds = sorted(kinds)

    def transactions(self, *, truncates: bool) -> tuple[Transaction, ...]:
        """Return the script; with `truncates` some transactions begin with a TRUNCATE."""
        made = []
        for number in range(_TRANSACTIONS):
            statements = self._shared() if self._kind == SHARED_KEYS else self._independent()
            statements = [statement._replace(pause_s=self._pause()) for statement in statements]
            if truncates and self._chance.random() < 0.08:
                # At its beginning: who holds a lock already and wants this one meets others.
                statements.insert(0, Statement("TRUNCATE story"))
            elif self._chance.random() < (0.4 if number in self._meanwhile else 0.1):
                statements = self._belated(statements)
            made.append(Transaction(tuple(statements), commits=self._chance.random() < 0.85))
        return tuple(made)

    def _belated(self, statements: list[Statement]) -> list[Statement]:
        """Let a while pass between the snapshot and the changes, for workers to write something."""
        if self._kind == OWN_KEYS:
            several = self._chance.choice(["edit_many", "edit_many", "delete_many", "rekey"])
            statements = self._part(several) + statements
        statements[0] = statements[0]._replace(pause_s=self._chance.uniform(0.02, 0.1))
        return self._read(self._own[0]) + statements

    def _pause(self) -> float:
        return self._chance.choice([0.0, 0.0, self._chance.uniform(0, 0.012)])

    def _independent(self) -> list[Statement]:
        statements: list[Statement] = []
        for _ in range(self._chance.choice([1, 1, 2, 3, 5])):
            part = self._part(self._draw())
            if self._restores and self._chance.random() < 0.4:
                part += self._restored()
            if self._chance.random() < 0.2:
                end = self._chance.choice(["ROLLBACK TO SAVEPOINT one", "RELEASE SAVEPOINT one"])
                part = [Statement("SAVEPOINT one"), *part, Statement(end)]
            statements += part
        return statements

    def _shared(self) -> list[Statement]:
        keys = sorted(self._chance.sample(SHARED, self._chance.choice([1, 2, 3])))
        parts = [self._part(self._draw(), key) for key in keys]
        if self._chance.random() < 0.2:
            parts.append(self._delete(self._first + keys[0] % KEYS))
        elif self._chance.random() < 0.1:
            parts.append(self._count(0))
        return [statement for part in parts for statement in part]

    def _draw(self) -> str:
        weights = [_WEIGHTS.get(kind, 2) for kind in self._kinds]
        return self._chance.choices(self._kinds, weights=weights)[0]

    def _part(self, kind: str, key: int | None = None) -> list[Statement]:
        """Return the statements of one kind of change."""
        made: list[Statement] = getattr(self, f"_{kind}")(key or self._chance.choice(self._own))
        return made

    def _others(self, key: int, count: int) -> list[int]:
        return self._chance.sample([other for other in self._own if other != key], count)

    def _texts(self) -> tuple[str | None, str | None]:
        return title(self._chance), body(self._chance)

    def _insert(self, key: int) -> list[Statement]:
        return [inserted(key, *self._texts(), deferrable=self._deferrable)]

    def _insert_many(self, key: int) -> list[Statement]:
        return [
            inserted(each, *self._texts(), deferrable=self._deferrable)
            for each in [key, *self._others(key, 4)]
        ]

    def _restored(self) -> list[Statement]:
        """Bring keys of the SERIALIZABLE writers back."""
        number = self._chance.choice([2, 3, 4])
        keys = [RANGE * number + n for n in sorted(self._chance.sample(range(len(self._own)), 3))]
        return [inserted(key, *self._texts(), deferrable=False) for key in keys]

    def _upsert(self, key: int) -> list[Statement]:
        text = (
            "INSERT INTO story (id, title, body) VALUES (%s, %s, %s)"
            " ON CONFLICT (id) DO UPDATE SET title = excluded.title, body = excluded.body"
        )
        return [Statement(text, (key, *self._texts()))]

    def _merge(self, key: int) -> list[Statement]:
        text = (
            "MERGE INTO story USING (VALUES (%s::bigint, %s, %s)) AS new (id, title, body)"
            " ON story.id = new.id WHEN MATCHED AND story.views %% 2 = 1 THEN DELETE"
            " WHEN MATCHED THEN UPDATE SET body = new.body, views = views + 1"
            " WHEN NOT MATCHED THEN INSERT (id, title, body) VALUES (new.id, new.title, new.body)"
        )
        return [Statement(text, (key, *self._texts()))]

    def _edit(self, key: int) -> list[Statement]:
        return [Statement("UPDATE story SET body = %s WHERE id = %s", (body(self._chance), key))]

    def _edit_many(self, key: int) -> list[Statement]:
        text = "UPDATE story SET body = coalesce(body, '') || %s WHERE id BETWEEN %s AND %s"
        return [Statement(text, (self._chance.choice(SENTENCES), key, min(key + 5, self._own[-1])))]

    def _retitle(self, key: int) -> list[Statement]:
        return [Statement("UPDATE story SET title = %s WHERE id = %s", (title(self._chance), key))]

    def _empty(self, key: int) -> list[Statement]:
        texts = self._chance.choice([(None, None), ("", ""), (None, "")])
        return [Statement("UPDATE story SET title = %s, body = %s WHERE id = %s", (*texts, key))]

    def _touch(self, key: int) -> list[Statement]:
        return [Statement("UPDATE story SET views = views + 1 WHERE id = %s", (key,))]

    def _delete(self, key: int) -> list[Statement]:
        return [Statement("DELETE FROM story WHERE id = %s", (key,))]

    def _delete_many(self, key: int) -> list[Statement]:
        return [Statement("DELETE FROM story WHERE id = ANY(%s)", ([key, *self._others(key, 3)],))]

    def _replace(self, key: int) -> list[Statement]:
        return self._delete(key) + self._insert(key)

    def _rekey(self, key: int) -> list[Statement]:
        (new,) = self._others(key, 1)
        text = (
            "UPDATE story SET id = %s WHERE id = %s"
            " AND NOT EXISTS (SELECT FROM story AS other WHERE other.id = %s)"
        )
        return [Statement(text, (new, key, new))]

    def _away(self, key: int) -> list[Statement]:
        """Take a row out of the keys that are shared, where only this writer meets it."""
        away = self._first + key % KEYS
        return [
            Statement(
                "UPDATE story SET id = %s WHERE id = %s"
                " AND NOT EXISTS (SELECT FROM story AS other WHERE other.id = %s)",
                (away, key, away),
            )
        ]

    def _swap(self, key: int) -> list[Statement]:
        (other,) = self._others(key, 1)
        if self._deferrable:
            return [permuted({key: other, other: key})]
        spare = self._first + SPARE
        steps = [(spare, key), (key, other), (other, spare)]
        return [Statement("UPDATE story SET id = %s WHERE id = %s", step) for step in steps]

    def _rotate(self, key: int) -> list[Statement]:
        second, third = self._others(key, 2)
        return [permuted({key: second, second: third, third: key})]

    def _fail(self, key: int) -> list[Statement]:
        """An error that the application expects, and goes on after."""
        plain = "INSERT INTO story (id, body) VALUES (%s, 'twice')"
        return [
            Statement("SAVEPOINT two"),
            *self._insert(key),
            Statement(plain, (key,), fails="23505"),
            Statement("ROLLBACK TO SAVEPOINT two"),
            *self._edit(key),
        ]

    def _read(self, key: int) -> list[Statement]:
        return [Statement("SELECT body FROM story WHERE id = %s", (key,))]

    def _count(self, _: int) -> list[Statement]:
        return [Statement("SELECT count(*) FROM story")]


def inserted(key: int, title: str | None, body: str | None, *, deferrable: bool) -> Statement:
    """Return an INSERT that passes over a key that is there."""
    values = "INSERT INTO story (id, title, body) {} (%s::bigint, %s::text, %s::text) {}"
    if not deferrable:
        text = values.format("VALUES", "ON CONFLICT (id) DO NOTHING")
        return Statement(text, (key, title, body))
    # A constraint that is deferrable is none for ON CONFLICT.
    text = (
        "INSERT INTO story (id, title, body) SELECT %s, %s, %s"
        " WHERE NOT EXISTS (SELECT FROM story AS other WHERE other.id = %s)"
    )
    return Statement(text, (key, title, body, key))


def permuted(keys: dict[int, int]) -> Statement:
    """Return an UPDATE that gives rows each other's keys, whichever of them are there."""
    cases = " ".join(f"WHEN {before} THEN {after}" for before, after in keys.items())
    listed = ", ".join(map(str, keys))
    return Statement(f"UPDATE story SET id = CASE id {cases} END WHERE id IN ({listed})")


def expected_failures(scripts: Sequence[Script]) -> int:
    """Return how many statements of scripts fail in any case."""
    return sum(
        statement.fails is not None
        for script in scripts
        for transaction in script.transactions
        for statement in transaction.statements
    )
