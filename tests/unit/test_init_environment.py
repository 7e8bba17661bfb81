"""What `pgsearch init` adds to an env.py, and what it leaves to its owner."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from alembic.config import Config
from hypothesis import given
from hypothesis import strategies as st

from pgsearch.errors import Error
from pgsearch.project.environment import PER_MIGRATION, Plan, plan, plan_import
from pgsearch.project.source import Source, decode
from tests.plugins.project import TEMPLATES

ENVIRONMENTS = {
    name: (Path(Config().get_template_directory()) / name / "env.py").read_text()
    for name in TEMPLATES
}
HEAD = "from alembic import context\n\ntarget_metadata = shop.metadata\n\n"


def planned(text: str) -> Plan:
    return plan(Source(text, "env.py"))


def edited(text: str) -> str:
    source = Source(text, "env.py")
    return source.with_insertions(plan(source).insertions)


def is_contained(before: str, after: str) -> bool:
    """Whether `after` is `before` with text added here and there."""
    rest = iter(after)
    return all(character in rest for character in before)


class _Without(ast.NodeTransformer):
    def visit_Call(self, node: ast.Call) -> ast.Call:
        node.keywords = [k for k in node.keywords if k.arg != PER_MIGRATION]
        self.generic_visit(node)
        return node


def without_addition(text: str) -> str:
    return ast.dump(_Without().visit(ast.parse(text)))


def assert_only_added(before: str, after: str, calls: int) -> None:
    assert is_contained(before, after)
    assert without_addition(after) == without_addition(before)
    assert after.count(f"{PER_MIGRATION}=True") == calls
    assert edited(after) == after


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("template", TEMPLATES)
def test_an_env_py_of_alembic_gets_one_argument_in_every_call(template: str, newline: str) -> None:
    before = ENVIRONMENTS[template].replace("\n", newline)
    after = edited(before)
    assert_only_added(before, after, calls=2)
    assert after.count("\n") == after.count(newline)
    assert max(map(len, after.splitlines())) <= 88


ARGUMENTS = ["connection", "url=url", 'dialect_opts={"paramstyle": "named"}', "x=(1)", "y=f(1, )"]
GAPS = st.sampled_from(["", " ", "\n", "\n    ", "  # , not a comma)\n    ", "\n\n  # (\n\t"])


@given(
    st.lists(st.sampled_from(ARGUMENTS), unique=True).map(lambda a: sorted(a, key=ARGUMENTS.index)),
    st.booleans(),
    st.lists(GAPS, min_size=12, max_size=12),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["", "é = 'ü'; "]),
)
def test_any_layout_of_a_call(
    arguments: list[str], has_comma: bool, gaps: list[str], newline: str, front: str
) -> None:
    inside = gaps[0]
    for number, argument in enumerate(arguments):
        is_last = number == len(arguments) - 1
        comma = "," if has_comma or not is_last else ""
        inside += argument + gaps[2 * number + 1] + comma + gaps[2 * number + 2]
    before = f"{HEAD}{front}context.configure({inside})  # end\n".replace("\n", newline)
    assert_only_added(before, edited(before), calls=1)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "context.configure(connection=c)",
            "context.configure(connection=c, transaction_per_migration=True)",
        ),
        (
            "context.configure(connection=c,)",
            "context.configure(connection=c, transaction_per_migration=True,)",
        ),
        ("context.configure()", "context.configure(transaction_per_migration=True)"),
        (
            "context.configure(connection=connection, target_metadata=target_metadata)",
            (
                "context.configure(connection=connection, target_metadata=target_metadata,\n"
                "                  transaction_per_migration=True)"
            ),
        ),
        (
            "if x:\n\tcontext.configure(\n\t\tc,  # note\n\t\t# and more\n\t)",
            (
                "if x:\n\tcontext.configure(\n\t\tc,  # note\n\t\ttransaction_per_migration=True,\n"
                "\t\t# and more\n\t)"
            ),
        ),
        (
            "context.configure(\n    c  # the connection\n)",
            "context.configure(\n    c,  # the connection\n    transaction_per_migration=True,\n)",
        ),
    ],
)
def test_an_argument_goes_in_as_its_neighbours_are(before: str, after: str) -> None:
    assert edited(HEAD + before + "\n") == HEAD + after + "\n"


@pytest.mark.parametrize(
    ("imports", "call"),
    [
        ("from alembic import context as here", "here.configure(c)"),
        ("from alembic import op, context", "context.configure(c)"),
        ("import alembic", "alembic.context.configure(c)"),
        ("import alembic.context", "alembic.context.configure(c)"),
        ("import alembic as a", "a.context.configure(c)"),
        ("import alembic.context as ctx", "ctx.configure(c)"),
    ],
)
def test_the_context_has_many_names(imports: str, call: str) -> None:
    assert PER_MIGRATION in edited(f"{imports}\n{call}\n")


def test_what_is_called_configure_elsewhere_is_not_touched() -> None:
    text = f"{HEAD}logging.configure(a)\ncontext.configure(c, {PER_MIGRATION}=True)\n"
    assert edited(text) == text
    assert planned(text).by_hand == []


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("context.configure(connection=c, **opts)", "gets arguments from opts"),
        ("context.configure(*given)", "gets arguments from *given"),
        ("context.configure(c, transaction_per_migration=False)", "is False; make it True"),
        ("run(c)", "does not call context.configure()"),
    ],
)
def test_what_cannot_be_added_is_said(call: str, said: str) -> None:
    made = planned(f"{HEAD}{call}\n")
    assert made.insertions == []
    (sentence,) = made.by_hand
    assert said in sentence
    assert PER_MIGRATION in sentence


@pytest.mark.parametrize(
    "options",
    [
        'opts = {"transaction_per_migration": True}',
        "opts = dict(transaction_per_migration=True)",
        'opts["transaction_per_migration"] = True',
    ],
)
def test_options_that_have_it_need_nothing(options: str) -> None:
    made = planned(f"{HEAD}{options}\ncontext.configure(**opts)\n")
    assert (made.insertions, made.by_hand) == ([], [])


DEFAULT = '"alembic.autogenerate.*"'
OURS = '"alembic.autogenerate.pgsearch"'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('["alembic.autogenerate.tables"]', f'["alembic.autogenerate.tables", {OURS}]'),
        ("[]", f"[{OURS}]"),
        ('["shop.*", *MORE]', f'["shop.*", *MORE, {OURS}]'),
        (f"[{DEFAULT}, '~alembic.autogenerate.comments']", None),
        (f"[{OURS}]", None),
        ('["alembic.*.pgsearch"]', None),
    ],
)
@pytest.mark.parametrize(
    "text",
    [
        "context.configure(\n    autogenerate_plugins=%s,\n    transaction_per_migration=True,\n)",
        (
            "plugins = %s\n"
            + "context.configure(autogenerate_plugins=plugins, transaction_per_migration=True)\n"
            * 2
        ),
        (
            'opts = {"autogenerate_plugins": %s, "transaction_per_migration": True}\n'
            "context.configure(**opts)\n"
        ),
    ],
)
def test_a_list_of_plugins_must_take_ours_in(text: str, before: str, after: str | None) -> None:
    given, wanted = (HEAD + text.replace("%s", value) for value in (before, after or before))
    assert ast.dump(ast.parse(edited(given))) == ast.dump(ast.parse(wanted))
    assert is_contained(given, edited(given))
    assert planned(given).by_hand == []


def test_both_are_added_to_one_call() -> None:
    text = f"{HEAD}context.configure(c, autogenerate_plugins=[])\n"
    after = f"{HEAD}context.configure(c, autogenerate_plugins=[{OURS}], {PER_MIGRATION}=True)\n"
    assert ast.dump(ast.parse(edited(text))) == ast.dump(ast.parse(after))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("settings.plugins", "must take in"),
        ('("alembic.autogenerate.tables",)', "must take in"),
        (f'[{DEFAULT}, "~alembic.autogenerate.pgsearch"]', "leaves"),
    ],
)
def test_plugins_that_cannot_be_added_to_are_said(value: str, said: str) -> None:
    made = planned(f"{HEAD}context.configure({PER_MIGRATION}=True, autogenerate_plugins={value})\n")
    assert made.insertions == []
    assert said in made.by_hand[0]


def test_a_transaction_around_all_migrations_is_remarked() -> None:
    for template in TEMPLATES:
        remarks = planned(ENVIRONMENTS[template]).remarks
        assert any("opens a transaction" in r for r in remarks) == (template == "multidb")
    (remark,) = planned(f"{HEAD}with engine.begin() as c:\n    context.configure(c)\n").remarks
    assert remark.startswith("env.py:5: engine.begin() opens")


@pytest.mark.parametrize("template", TEMPLATES)
def test_an_env_py_without_models_is_said(template: str) -> None:
    (sentence,) = planned(ENVIRONMENTS[template]).by_hand
    assert "target_metadata" in sentence


def test_hooks_are_kept() -> None:
    text = f"{HEAD}context.configure(c, include_object=mine, {PER_MIGRATION}=True)\n"
    (remark,) = planned(text).remarks
    assert "include_object stays as it is" in remark
    assert edited(text) == text


IMPORT = "import shop.search  # noqa: E402, F401  declares the search indexes"


@pytest.mark.parametrize(
    "after",
    [
        ("from a import Base\ntarget_metadata = Base.metadata\n|\n"),
        ("from a import m\ntarget_metadata: M = m\n|"),
        ("if x:\n    target_metadata = m  # so\nelse:\n    target_metadata = n\n|\n\ny()\n"),
        ("import a\r\ntarget_metadata = a.m; f(\r\n  1)\r\n|\r\ng()\r\n"),
        ("from alembic import context\nfrom a import m\n|\ncontext.configure(target_metadata=m)\n"),
        ("import shop\ntarget_metadata = a.m\n|\n"),
    ],
)
def test_an_import_goes_behind_the_models(after: str) -> None:
    before = re.sub(r"\r?\n\|", "", after)
    source = Source(before, "env.py")
    assert source.with_insertions(plan_import(source, "shop.search")) == after.replace("|", IMPORT)


def test_an_import_takes_no_name_that_means_something_else() -> None:
    for other in ("from shop import search as shop", "import goods as shop", "shop = 1"):
        source = Source(f"{other}\ntarget_metadata = a.m\n", "env.py")
        edited = source.with_insertions(plan_import(source, "shop.search"))
        assert edited.splitlines()[2].startswith("import shop.search as _search  # noqa")


def test_an_import_needs_models() -> None:
    source = Source("def f():\n    target_metadata = 1\n", "env.py")
    assert plan_import(source, "shop.search") == []


def test_what_is_not_python_is_refused() -> None:
    with pytest.raises(Error, match=r"env.py is not Python: line 2: "):
        Source("import a\nimport\n", "env.py")
    with pytest.raises(Error, match="cannot be read"):
        decode(b"# \xff\n", "env.py")


@pytest.mark.parametrize("data", ["é\n".encode("utf-8-sig"), b"# coding: latin-1\n# \xe9\r\n"])
def test_an_encoding_is_kept(data: bytes) -> None:
    text, encoding = decode(data, "env.py")
    assert "é" in text
    assert text.encode(encoding) == data
