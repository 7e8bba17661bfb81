"""What an env.py needs for pgsearch, and what can be added to it.

pgsearch's operations on a table in use commit on their own, so that their locks are short; with
`transaction_per_migration` each migration is a unit of its own around them. Its comparison is a
plugin, which Alembic takes in unless env.py lists the plugins itself.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from pgsearch.project.source import Insertion, Source

PLUGIN = "alembic.autogenerate.pgsearch"
PER_MIGRATION = "transaction_per_migration"

#: Hooks that decide what autogenerate sees or writes.
_HOOKS = ("include_name", "include_object", "process_revision_directives")


@dataclass
class Plan:
    """What is to be done to an env.py.

    Args:
        insertions: What can be added by a program.
        by_hand: What its owner has to change, a sentence or two each.
        remarks: What is good to know.
    """

    insertions: list[Insertion] = field(default_factory=list)
    by_hand: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def plan(source: Source) -> Plan:
    """Return what an env.py needs."""
    made = Plan()
    calls = list(_configure_calls(source.tree))
    if not calls:
        made.by_hand.append(
            f"{source.name} does not call context.configure() itself: wherever it is called, "
            f"pass {PER_MIGRATION}=True."
        )
    for call in calls:
        _plan_transactions(source, call, made)
    for value in _given(source.tree, "autogenerate_plugins"):
        _plan_plugins(source, value, made)
    _remark(source, calls, made)
    return made


def plan_import(source: Source, module: str) -> list[Insertion]:
    """Return what makes an env.py import a module behind its models.

    Args:
        module: Its dotted name.
    """
    anchor, _ = target_metadata(source)
    if anchor is None:
        return []
    # `import shop.search` names `shop`, which may mean something else there.
    is_taken = module.partition(".")[0] in _other_names(source.tree)
    alias = f" as _{module.rpartition('.')[2]}" if is_taken else ""
    return source.add_line(
        anchor, f"import {module}{alias}  # noqa: E402, F401  declares the search indexes"
    )


def target_metadata(source: Source) -> tuple[ast.stmt | None, ast.expr | None]:
    """Return the statement behind which env.py knows its metadata, and the expression for it.

    That is the last assignment to `target_metadata` at the top level or, if there is none, the
    last import, and what is passed to context.configure(); None where nothing is found.
    """
    name = "target_metadata"
    bound = [statement for statement in source.tree.body if name in _bound(statement)]
    if bound:
        return bound[-1], ast.Name(name, ast.Load())
    imports = [s for s in source.tree.body if isinstance(s, (ast.Import, ast.ImportFrom))]
    passed = [
        keyword.value
        for call in _configure_calls(source.tree)
        for keyword in call.keywords
        if keyword.arg == name
    ]
    return (imports[-1], passed[-1]) if imports and passed else (None, None)


def _configure_calls(tree: ast.Module) -> Iterator[ast.Call]:
    """Yield the calls of `alembic.context.configure`, whatever it was imported as."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "alembic" and not node.level:
            names |= {a.asname or a.name for a in node.names if a.name == "context"}
        elif isinstance(node, ast.Import):
            names |= {
                f"{a.asname or 'alembic'}{'' if a.asname and '.' in a.name else '.context'}"
                for a in node.names
                if a.name in ("alembic", "alembic.context")
            }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "configure"
            and ast.unparse(node.func.value) in names
        ):
            yield node


def _given(tree: ast.Module, option: str) -> Iterator[ast.expr]:
    """Yield what is given for an option: as an argument, or in a dictionary."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from (keyword.value for keyword in node.keywords if keyword.arg == option)
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == option:
                    yield value
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
            key = node.targets[0].slice
            if isinstance(key, ast.Constant) and key.value == option:
                yield node.value


def _plan_transactions(source: Source, call: ast.Call, made: Plan) -> None:
    where = f"{source.name}:{call.lineno}"
    given = [keyword.value for keyword in call.keywords if keyword.arg == PER_MIGRATION]
    if given:
        if isinstance(given[0], ast.Constant) and not given[0].value:
            made.by_hand.append(
                f"{where}: {PER_MIGRATION} is {given[0].value}; make it True, so that an "
                "operation which commits on its own does not commit other migrations halfway."
            )
        return
    passed_on = [keyword.value for keyword in call.keywords if keyword.arg is None]
    passed_on += [argument for argument in call.args if isinstance(argument, ast.Starred)]
    if not passed_on:
        made.insertions += source.add_item(call, f"{PER_MIGRATION}=True")
    elif not any(_given(source.tree, PER_MIGRATION)):
        text = ", ".join(ast.unparse(value) for value in passed_on)
        made.by_hand.append(
            f"{where}: context.configure() gets arguments from {text}: add "
            f"{PER_MIGRATION}=True to it where it is made, unless it has it."
        )


def _plan_plugins(source: Source, value: ast.expr, made: Plan) -> None:
    where = f"{source.name}:{value.lineno}"
    items = _list_behind(source.tree, value)
    if items is None:
        made.by_hand.append(
            f'{where}: autogenerate_plugins is {ast.unparse(value)}: it must take in "{PLUGIN}".'
        )
        return
    patterns = [i.value for i in items.elts if isinstance(i, ast.Constant)]
    words = [pattern for pattern in patterns if isinstance(pattern, str)]
    if any(word.startswith("~") and _matches(word[1:]) for word in words):
        made.by_hand.append(
            f"{where}: autogenerate_plugins leaves {PLUGIN} out: take what begins with ~ away, "
            "or autogenerate will drop the tables that pgsearch keeps."
        )
    elif not any(_matches(word) for word in words):
        addition = source.add_item(items, f'"{PLUGIN}"')
        # Two calls may share one list.
        made.insertions += [each for each in addition if each not in made.insertions]


def _list_behind(tree: ast.Module, value: ast.expr) -> ast.List | None:
    """Return the list that is written at a place, or bound once to the name that is."""
    if isinstance(value, ast.Name):
        bound = [
            node.value
            for node in ast.walk(tree)
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and value.id in _bound(node)
        ]
        value = bound[0] if len(bound) == 1 and bound[0] is not None else value
    return value if isinstance(value, ast.List) else None


def _matches(pattern: str) -> bool:
    """Return whether Alembic takes our plugin in by a pattern such as `alembic.autogenerate.*`."""
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".+"), PLUGIN) is not None


def _remark(source: Source, calls: list[ast.Call], made: Plan) -> None:
    for node in ast.walk(source.tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("begin", "begin_twophase")
        ):
            made.remarks.append(
                f"{source.name}:{node.lineno}: {ast.unparse(node)} opens a transaction around "
                "all migrations: what pgsearch locks stays locked until it ends. For tables in "
                "use, connect with connect() and leave transactions to Alembic."
            )
            break
    anchor, expression = target_metadata(source)
    value = getattr(anchor, "value", None)
    is_empty = isinstance(value, (ast.Constant, ast.Dict)) and ast.unparse(value) in ("None", "{}")
    if expression is None or is_empty:
        made.by_hand.append(
            f"{source.name}: no target_metadata is set at its top level: autogenerate needs it, "
            "as in `target_metadata = Base.metadata`."
        )
    hooks = {k.arg for call in calls for k in call.keywords if k.arg in _HOOKS}
    if hooks:
        made.remarks.append(
            f"{source.name}: {', '.join(sorted(map(str, hooks)))} stays as it is; search indexes "
            "and the tables that pgsearch keeps need no exception in it."
        )


def _bound(node: ast.AST) -> set[str]:
    """Return the names that a statement assigns in its own scope."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
        return set()
    if isinstance(node, ast.Name):
        return {node.id} if isinstance(node.ctx, ast.Store) else set()
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    return set().union(*map(_bound, ast.iter_child_nodes(node)))


def _other_names(tree: ast.Module) -> set[str]:
    """Return the names of the top level that are not just imported packages."""
    others = (
        statement
        for statement in tree.body
        if not isinstance(statement, ast.Import) or any(a.asname for a in statement.names)
    )
    return set().union(*map(_bound, others))
