"""The text of the demo: the documentation that every Python carries in its docstrings."""

from __future__ import annotations

import builtins
import importlib
import inspect
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    FunctionType,
    MethodDescriptorType,
    ModuleType,
)
from typing import Any

#: Modules whose import does something, or that are no library to look things up
#: in: games, test suites, installers, programs for a screen, the insides of others.
_SKIPPED = frozenset(
    {
        "antigravity", "bdb", "curses", "distutils", "ensurepip", "genericpath", "idlelib",
        "lib2to3", "nt", "ntpath", "nturl2path", "opcode", "posix", "posixpath", "pydoc_data",
        "pyexpat", "readline", "rlcompleter", "sre_compile", "sre_constants", "sre_parse",
        "symtable", "test", "this", "tkinter", "turtle", "turtledemo",
    }
)  # fmt: skip

#: Gone since Python 3.12 or 3.13: without them the corpus is much the same everywhere.
_REMOVED = frozenset(
    {
        "aifc", "asynchat", "asyncore", "audioop", "cgi", "cgitb", "chunk", "crypt", "imghdr",
        "imp", "mailcap", "msilib", "nis", "nntplib", "ossaudiodev", "pipes", "smtpd", "sndhdr",
        "spwd", "sunau", "telnetlib", "uu", "xdrlib",
    }
)  # fmt: skip

#: The submodules that have a page of their own in the library reference.
_SUBMODULES = (
    "collections.abc", "compression.zstd", "concurrent.futures", "concurrent.interpreters",
    "ctypes.util", "email.charset", "email.contentmanager", "email.encoders", "email.errors",
    "email.generator", "email.header", "email.headerregistry", "email.message",
    "email.mime.application", "email.mime.audio", "email.mime.base", "email.mime.image",
    "email.mime.message", "email.mime.multipart", "email.mime.text", "email.parser", "email.policy",
    "email.utils", "encodings.idna", "html.entities", "html.parser", "http.client",
    "http.cookiejar", "http.cookies", "http.server", "importlib.metadata", "importlib.resources",
    "importlib.util", "logging.config", "logging.handlers", "multiprocessing.connection",
    "multiprocessing.managers", "multiprocessing.pool", "multiprocessing.shared_memory", "os.path",
    "pathlib.types", "string.templatelib", "unittest.mock", "urllib.error", "urllib.parse",
    "urllib.request", "urllib.response", "urllib.robotparser", "wsgiref.handlers",
    "wsgiref.headers", "wsgiref.simple_server", "wsgiref.util", "wsgiref.validate", "xml.dom",
    "xml.dom.minidom", "xml.dom.pulldom", "xml.etree.ElementTree", "xml.parsers.expat", "xml.sax",
    "xml.sax.handler", "xml.sax.saxutils", "xml.sax.xmlreader", "xmlrpc.client", "xmlrpc.server",
)  # fmt: skip

_METHOD_TYPES = (
    FunctionType, BuiltinFunctionType, MethodDescriptorType, ClassMethodDescriptorType,
)  # fmt: skip

_MAX_SIGNATURE = 200

#: A docstring of fewer words says no more than the name: "Remove an option."
_MIN_WORDS = 5

#: Types of defaults that read the same in every run and on every machine.
_PLAIN_TYPES = (bool, bytes, float, int, str, type(None))

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
#: What dataclasses and named tuples write for a class without a docstring.
_BARE_SIGNATURE = re.compile(r"\w+\(.*\)")
_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")


@dataclass(frozen=True)
class Entry:
    """One documented object of the standard library: a row of the table `document`.

    Args:
        title: Its qualified name, as in `csv.DictWriter.writeheader` or, for a
            builtin, `str.split`.
        body: Its signature, where it has one, and its docstring.
        kind: "module", "class", "function" or "method".
        module: The module that documents it, as in `os.path` or `builtins`.
    """

    title: str
    body: str
    kind: str
    module: str


@dataclass(frozen=True)
class Question:
    """A question in plain words.

    Args:
        text: As a developer would ask it.
        answers: Titles of the entries that answer it, the best first.
    """

    text: str
    answers: tuple[str, ...]


#: Questions that share few words with their answers, so that keywords alone do worse.
QUESTIONS = (
    Question(
        "how do I read the rows of a spreadsheet that was saved as text",
        ("csv.reader", "csv.excel", "csv.excel_tab"),
    ),
    Question(
        "how do I put a picture into an e-mail",
        ("email.mime.image.MIMEImage", "email.mime.image"),
    ),
    Question("how do I glue strings together", ("str.join",)),
    Question("find words that are spelled almost the same", ("difflib.get_close_matches",)),
    Question("take a nap for five seconds", ("time.sleep", "asyncio.sleep")),
)


def clean(text: str) -> str:
    """Return a docstring without its indentation and without what PostgreSQL cannot store.

    That is NUL and lone surrogates. Memory addresses go too: they differ in every run.
    """
    return _ADDRESS.sub("", _UNSTORABLE.sub("", inspect.cleandoc(text)))


def standard_library() -> Iterator[Entry]:
    """Yield the documentation of the standard library, in the same order every time.

    An object that several modules offer comes once, under the first of them:
    builtins, then modules by name, a package before its submodules. What this
    Python lacks, or cannot import, is left out.
    """
    # Collected before the first entry leaves: the filter must not reach the caller.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        entries = list(_collect(_module_names()))
    yield from entries


def _module_names() -> list[str]:
    """Return the names of the modules to document, builtins first."""
    top = {name for name in sys.stdlib_module_names if not name.startswith("_")}
    return ["builtins", *sorted((top | set(_SUBMODULES)) - _SKIPPED - _REMOVED - {"builtins"})]


def _import(name: str) -> ModuleType | None:
    """Return a module, or None if this build or platform does not have it."""
    try:
        return importlib.import_module(name)
    except Exception:
        return None


class _Seen:
    """The objects that have been met, by identity."""

    def __init__(self) -> None:
        # The references keep an identity from being given to a second object.
        self._objects: dict[int, object] = {}

    def first(self, value: object) -> bool:
        """Return whether this object, or the function of this method, is met for the first time."""
        value = getattr(value, "__func__", value)
        if id(value) in self._objects:
            return False
        self._objects[id(value)] = value
        return True


def _collect(names: Iterable[str]) -> Iterator[Entry]:
    """Yield the entries of every module of these names that can be imported."""
    seen = _Seen()
    for name in names:
        module = _import(name)
        if module is None or not seen.first(module):
            continue
        if doc := clean(module.__doc__ or ""):
            yield Entry(name, doc, "module", name)
        prefix = "" if name == "builtins" else f"{name}."
        members = list(_members(module))
        # Functions first: `random.choice` is a method of a hidden instance, and
        # is known by that name, not as `random.Random.choice`.
        for short, value in members:
            if not isinstance(value, type) and seen.first(value) and (doc := _docstring(value)):
                body = f"{short}{_signature(value)}\n\n{doc}"
                yield Entry(prefix + short, body, "function", name)
        for short, value in members:
            if isinstance(value, type) and seen.first(value):
                yield from _class_entries(prefix + short, short, value, name, seen)


def _class_entries(title: str, short: str, cls: type, module: str, seen: _Seen) -> Iterator[Entry]:
    """Yield a class and the public methods that it defines itself."""
    if doc := _docstring(cls):
        yield Entry(title, f"class {short}{_signature(cls)}\n\n{doc}", "class", module)
    for name, value in vars(cls).items():
        function = value.__func__ if isinstance(value, staticmethod | classmethod) else value
        if name.startswith("_") or not isinstance(function, _METHOD_TYPES):
            continue
        if not seen.first(function) or _repeats_base(cls, name):
            continue
        if doc := _docstring(function):
            body = f"{name}{_signature(getattr(cls, name))}\n\n{doc}"
            yield Entry(f"{title}.{name}", body, "method", module)


def _repeats_base(cls: type, method: str) -> bool:
    """Return whether a method says word for word what a base class says of it."""
    doc = getattr(cls, method).__doc__
    return any(
        getattr(getattr(base, method, None), "__doc__", None) == doc for base in cls.__bases__
    )


def _members(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Yield the public classes and functions of a module that are its own."""
    exported = vars(module) if module is builtins else getattr(module, "__all__", None)
    for name in vars(module) if exported is None else exported:
        value = getattr(module, name, None)
        if name.startswith("_") or not (isinstance(value, type) or inspect.isroutine(value)):
            continue
        owner = getattr(value, "__module__", None) or module.__name__
        if _is_own(owner, module.__name__, exported=exported is not None):
            yield name, value


def _is_own(owner: str, module: str, *, exported: bool) -> bool:
    """Return whether a module documents an object that says it is defined in `owner`.

    What a module names in `__all__` is its own, unless it was put there by
    something outside the standard library. Without `__all__`, what it got by
    importing another public module is not.
    """
    if exported:
        return owner.partition(".")[0] in sys.stdlib_module_names
    return owner == module or owner.startswith(("_", f"{module}."))


def _docstring(value: object) -> str:
    """Return an object's own docstring, cleaned; empty if it is inherited or says nothing."""
    doc = vars(value).get("__doc__") if isinstance(value, type) else getattr(value, "__doc__", None)
    text = clean(doc) if isinstance(doc, str) else ""
    says_nothing = len(text.split()) < _MIN_WORDS or _BARE_SIGNATURE.fullmatch(text)
    return "" if says_nothing else text


class _Elided:
    """Stands in a signature for a default that would be long, or differ between runs."""

    def __repr__(self) -> str:
        return "..."


def _signature(value: Any) -> str:
    """Return a callable's parameters as in `(iterable, start=0)`, or `(...)` if unknown."""
    try:
        signature = inspect.signature(value)
    except Exception:  # whatever the object's own code raises
        return "(...)"
    parameters = [
        p.replace(annotation=p.empty, default=_default(p.default))
        for position, p in enumerate(signature.parameters.values())
        if not (position == 0 and p.name in {"self", "cls"})
    ]
    text = clean(str(inspect.Signature(parameters)))
    return text if len(text) <= _MAX_SIGNATURE else "(...)"


def _default(value: object) -> object:
    """Return a default to print: itself if plain and the same everywhere, else an ellipsis."""
    items = value if type(value) is tuple else (value,)
    is_plain = all(type(item) in _PLAIN_TYPES and not _is_path(item) for item in items)
    return value if is_plain or value is inspect.Parameter.empty else _Elided()


def _is_path(value: object) -> bool:
    """Return whether a default is a path of this machine, such as that of the interpreter."""
    return isinstance(value, str) and Path(value).is_absolute()
