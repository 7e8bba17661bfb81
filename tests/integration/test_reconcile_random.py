"""Any damage, in any mixture: what is not found is not there, and what is found is mended."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pgsearch import database as product
from pgsearch.sync.reconciliation import reconcile
from tests.plugins.postgres import Databases
from tests.plugins.reconcile import counts, stale_documents
from tests.plugins.worker import SENTENCES, Stories

IDS = st.integers(1, 8)
ORDINALS = st.integers(-1, 3)
BODIES = st.one_of(
    st.none(), st.just(""), st.lists(st.sampled_from(SENTENCES), max_size=4).map(" ".join)
)

DOCUMENT = "story_search_document"
CHUNK = "story_search_chunk"
VECTOR = "embedding_hash_v1"
KEPT = f"content, content_hash, generation, {VECTOR} FROM {CHUNK}"
ONE = "WHERE (id, ordinal) = (%(id)s, %(ordinal)s)"

#: Statements about a row, a chunk and a text, as their parameters are named.
DAMAGES = f"""
INSERT INTO story (id, body) VALUES (%(id)s, %(body)s) ON CONFLICT DO NOTHING;
UPDATE story SET body = %(body)s WHERE id = %(id)s;
DELETE FROM story WHERE id = %(id)s;
UPDATE story SET id = %(other)s
  WHERE id = %(id)s AND NOT EXISTS (SELECT FROM story WHERE id = %(other)s);
DELETE FROM {DOCUMENT} WHERE id = %(id)s;
UPDATE {DOCUMENT} SET tsv = '', length = -1 WHERE id = %(id)s;
UPDATE {DOCUMENT} SET generation = nextval('story_search_generation') WHERE id = %(id)s;
UPDATE {DOCUMENT} AS one SET tsv = other.tsv FROM {DOCUMENT} AS other
  WHERE (one.id, other.id) = (%(id)s, %(other)s);
DELETE FROM {CHUNK} {ONE};
DELETE FROM {CHUNK} WHERE id = %(id)s;
INSERT INTO {CHUNK} SELECT %(other)s, ordinal, {KEPT} WHERE id = %(id)s ON CONFLICT DO NOTHING;
INSERT INTO {CHUNK} SELECT id, %(ordinal)s, {KEPT} WHERE (id, ordinal) = (%(id)s, 0)
  ON CONFLICT DO NOTHING;
UPDATE {CHUNK} SET content = content || 'x' {ONE};
UPDATE {CHUNK} SET content_hash = content_hash || 'x' {ONE};
UPDATE {CHUNK} SET generation = generation + 1 {ONE};
UPDATE {CHUNK} SET {VECTOR} = NULL {ONE};
UPDATE {CHUNK} SET {VECTOR} = {VECTOR} - {VECTOR} {ONE};
UPDATE {CHUNK} AS one SET {VECTOR} = other.{VECTOR} FROM {CHUNK} AS other
  WHERE (one.id, one.ordinal, other.id, other.ordinal) = (%(id)s, %(ordinal)s, %(other)s, 0)
""".split(";")

STEPS = st.lists(
    st.tuples(
        st.sampled_from(DAMAGES),
        st.fixed_dictionaries({"id": IDS, "other": IDS, "ordinal": ORDINALS, "body": BODIES}),
        st.booleans(),
    ),
    max_size=8,
)


def truth(stories: Stories) -> list[object]:
    """Return what is not as the rows want it, as other code than a reconciliation sees it."""
    return [*stories.differences(), *stale_documents(stories)]


@settings(max_examples=12, deadline=None)
@given(steps=STEPS)
def test_any_damage_is_found_and_mended(
    databases: Databases,
    whole_template: str,
    steps: list[tuple[str, dict[str, object], bool]],
) -> None:
    with databases.fresh(whole_template) as url, product.connect(url) as connection:
        product.register_vectors(connection)
        whole = Stories(url, connection)
        for statement, parameters, is_seen in steps:
            # Some of them are captured, and wait in the queue among the damage.
            role = "origin" if is_seen else "replica"
            whole.execute(f"SET session_replication_role = {role}")
            connection.execute(statement.encode(), parameters)
        whole.execute("RESET session_replication_role")
        waiting = whole.waiting()
        found = counts(reconcile(url, batch=3, vectors="all", dry_run=True))
        assert found or waiting or truth(whole) == []
        assert counts(reconcile(url, batch=3, vectors="all")).keys() == found.keys()
        whole.drain()
        again = reconcile(url, batch=3, vectors="all")
        # A queue row that waited already asks for less than some damage needs.
        assert waiting or again.is_clean
        whole.drain()
        assert counts(reconcile(url, vectors="all", dry_run=True)) == {}
        assert truth(whole) == []
        assert whole.waiting() == 0
