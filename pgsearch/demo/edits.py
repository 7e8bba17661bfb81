"""The changes of the demo: plain SQL, with the questions that show what became of them."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.sql import SQL, Literal


@dataclass(frozen=True)
class Edit:
    """One changed row.

    Args:
        statement: The SQL that changes it; printed and executed as it is.
        title: The row's title.
        body: Its new text; None if the row is deleted.
        question: A question that the new text answers or, of a deleted row, the old one.
    """

    statement: str
    title: str
    body: str | None
    question: str


def _update(title: str, body: str, question: str) -> Edit:
    statement = SQL("UPDATE document SET body = {}\nWHERE title = {};")
    return Edit(statement.format(Literal(body), Literal(title)).as_string(), title, body, question)


def _insert(title: str, body: str, question: str) -> Edit:
    statement = SQL("INSERT INTO document (title, kind, body)\nVALUES ({}, 'note',\n        {});")
    return Edit(statement.format(Literal(title), Literal(body)).as_string(), title, body, question)


def _delete(title: str, question: str) -> Edit:
    statement = SQL("DELETE FROM document WHERE title = {};")
    return Edit(statement.format(Literal(title)).as_string(), title, None, question)


#: The new texts share no word with the questions that they answer, and have nothing to do with
#: Python, so that a row is found by its new text or not at all.
EDITS = (
    _update(
        "random.shuffle",
        "Deal the cards again when a player has shown a hand.",
        "restart a round of poker",
    ),
    _update(
        "sched.scheduler.cancel",
        "The night train to Vienna does not run on Sundays.",
        "travel by rail at the weekend",
    ),
    _update(
        "bisect.insort_right",
        "Put the returned novels back on the shelf by the author's name.",
        "where do borrowed books go",
    ),
    _insert(
        "Fire drill",
        "When the siren sounds, walk down the stairs and meet under the oak tree.",
        "where to go when it burns",
    ),
    _delete("calendar.isleap", "is it a leap year"),
)
