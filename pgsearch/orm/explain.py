"""What a hit says beside its scores: the part that answers, and why it is a hit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg.sql import Identifier
from sqlalchemy import (
    ColumnClause,
    ColumnElement,
    Float,
    Integer,
    Select,
    Text,
    and_,
    case,
    cast,
    column,
    func,
    literal,
    select,
    table,
)
from sqlalchemy.dialects.postgresql import JSONB, REGCONFIG
from sqlalchemy.sql.elements import quoted_name
from sqlalchemy.sql.functions import Function

from pgsearch.definition import IndexDefinition
from pgsearch.orm.statement import Request
from pgsearch.schema import search
from pgsearch.schema.templates import key_names

if TYPE_CHECKING:
    from sqlalchemy.sql.selectable import Subquery, TableValuedAlias


def snippet(
    definition: IndexDefinition, request: Request, hits: TableValuedAlias
) -> ColumnElement[Any]:
    """Return the part of a hit's passage that holds most of the query's words."""
    made: Function[str] = func.pgsearch.snippet(
        _configuration(definition, request), hits.c.passage, literal(request.query, Text)
    )
    return made.label("snippet")


def explanation(
    definition: IndexDefinition, request: Request, hits: TableValuedAlias
) -> ColumnElement[Any]:
    """Return the query's terms as a hit's document has them, and how rows were come by."""
    terms = func.jsonb_build_object("terms", _terms(definition, request, hits), type_=JSONB)
    rows = _rows(definition, request)
    path = case((rows <= search.FEW_ROWS, "each row"), else_="index")
    way = func.jsonb_build_object("rows", rows, "path", path)
    # Without `rows` where they are not counted.
    return terms.concat(func.jsonb_strip_nulls(way, type_=JSONB)).label("explanation")


def _rows(definition: IndexDefinition, request: Request) -> ColumnElement[Any]:
    """Return how many rows are searched, as far as they are counted; NULL where that is all."""
    if request.rows is not None:
        return _counted(request.rows)
    key: list[ColumnClause[Any]] = [column(name) for name in key_names(definition)]
    source = table(definition.table, *key, schema=definition.schema)
    # As in the statement: those that row-level security leaves.
    return case((_is_hidden(definition), _counted(select(*source.c))))


def _is_hidden(definition: IndexDefinition) -> ColumnElement[bool]:
    name = Identifier(definition.schema, definition.table).as_string(None)
    hidden: ColumnElement[bool] = func.row_security_active(literal(name, Text))
    return hidden


def _counted(rows: Select[Any]) -> ColumnElement[Any]:
    few = rows.limit(search.FEW_ROWS + 1).subquery()
    return select(func.count()).select_from(few).scalar_subquery()


def _asked_terms(definition: IndexDefinition, request: Request) -> Subquery:
    """Return the query's terms as the statement has them."""
    wanted = request.keyword_depth
    asked: list[Any] = [literal(request.query, Text), wanted]
    if request.language is not None:
        asked.append(_configuration(definition, request))
    names = definition.names
    # As a plain string a name with capitals would not be quoted.
    schema, name = (quoted_name(each, quote=True) for each in (definition.schema, names.terms))
    terms = Function(name, *asked, packagenames=(schema,)).table_valued(
        column("term"),
        column("document_frequency", Integer),
        column("idf", Float),
        column("tier", Integer),
        column("mean_length", Float),
        name="asked",
    )
    frequency, tier = terms.c.document_frequency, terms.c.tier
    if request.mode != "hybrid" or request.rows is not None or request.is_conditional:
        return select(terms.c.term, terms.c.idf, tier).subquery()
    # See sql/search/terms_hybrid.sql.
    budget = case((_is_hidden(definition), search.BUDGET), else_=search.HYBRID_BUDGET)
    order = (frequency, cast(terms.c.term, Text))
    total = func.sum(frequency).over(order_by=order, rows=(None, 0))
    sure = func.sum(frequency).filter(frequency > search.FEWEST)
    brought = func.coalesce(sure.over(order_by=order, rows=(None, -1)), 0)
    beyond = and_(tier == 1, total > budget, total > frequency)
    second = case((brought < 2 * max(wanted, search.HYBRID_KEYWORD_DEPTH), 2))
    return select(
        terms.c.term, terms.c.idf, case((beyond, second), else_=tier).label("tier")
    ).subquery()


def _terms(
    definition: IndexDefinition, request: Request, hits: TableValuedAlias
) -> ColumnElement[Any]:
    names, schema = definition.names, definition.schema
    terms = _asked_terms(definition, request)
    key = key_names(definition)
    columns: list[ColumnClause[Any]] = [column(name) for name in (*key, "tsv")]
    document = table(names.document, *columns, schema=schema).alias("explained")
    frequency = func.pgsearch.term_frequency(document.c.tsv, terms.c.term)
    described = func.jsonb_build_object(
        "term",
        func.btrim(cast(terms.c.term, Text), "'"),
        "idf",
        terms.c.idf,
        "tier",
        terms.c.tier,
        "frequency",
        frequency,
    )
    same = and_(*(document.c[name] == hits.c[name] for name in key))
    found = select(func.coalesce(func.jsonb_agg(described), cast("[]", JSONB)))
    return (
        found.select_from(document).join(terms, literal(value=True)).where(same).scalar_subquery()
    )


def _configuration(definition: IndexDefinition, request: Request) -> ColumnElement[Any]:
    own = cast(definition.language, REGCONFIG)
    if request.language is None:
        return own
    chosen: ColumnElement[Any] = func.pgsearch.query_configuration(
        literal(request.language, Text), own
    )
    return chosen
