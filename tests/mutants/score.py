"""The score of a module: small changes that a program makes up, and how many of them its tests notice.

`python -m tests.mutants --score jobs/destroys.py`. Each change (a comparison, a condition turned round, a number one higher, a
call left out ...) goes into a fork of a process that has loaded everything, as new code of the same functions; the tests that
come by that line are run there, the quickest first, up to the first failure. Words of the log are left alone, and so are texts.
A change that no test can notice, since it does the same, stands in `SAME` with the reason.
"""

from __future__ import annotations

import ast
import os
import signal
import types
from collections.abc import Generator, Iterator, Sequence
from importlib import import_module
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol
from attrs import define, field, frozen

from tests.mutants.mutant import ROOT

TESTS = {
    "jobs/destroys.py": ("tests/jobs/test_acting.py", "tests/jobs/test_destroys.py"),
    "attempts.py": ("tests/test_attempts.py",),
}
"""What can be scored, and by which tests."""

SAME: dict[str, str] = {
    "DestroysJob._postpone: 1 -> 2": "nothing is put off before it was looked at, so the first of the two is never taken",
    "DestroysJob._last_look: track is not None and is_present(track) and self._listing_is_fresh() -> "
    "(track is not None and self._listing_is_fresh())": "a verdict on what is missed is held before, and a command goes on anyway",
}
"""Changes that nobody can notice, and why."""

ENOUGH_SECONDS = 12.0
"""The quickest tests that come by a line, until they take so long together: the slow ones walk through days, and tell of no more."""

HANG_SECONDS = 60
"""A fork that takes longer never ends, and that is noticed."""

_COMPARED: dict[type[ast.cmpop], str] = {
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.In: "not in",
    ast.NotIn: "in",
}
_COUNTED: dict[type[ast.operator], str] = {ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*"}
_QUIET = [
    "-q",
    "-x",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:hypothesispytest",
    "-p",
    "no:platformdirs",
    "--show-capture=no",
    "--tb=no",
    "--no-header",
]


@frozen
class Change:
    """One change. `lines` are those of its statement; `text` is the whole module with it."""

    name: str
    lines: range
    text: str


@define(eq=False)
class _Trial:
    """A pytest plugin: notes which tests come by which statements of a module, and then tries the changes with those.

    All is done in one session. To begin another one for each change would take most of the time.
    """

    module: types.ModuleType
    text: str
    changes: list[Change]
    results: list[tuple[Change, bool]] = field(factory=list)
    _lines: dict[str, set[int]] = field(factory=dict)
    _seconds: dict[str, float] = field(factory=dict)
    _now: set[int] = field(factory=set)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Run the tests as things are, and if they pass with every change."""
        vars(self.module)["come_by"] = self._come_by
        _put_in(self.module, ast.fix_missing_locations(_Told().visit(ast.parse(self.text))))
        done = yield
        if not session.testsfailed:
            for change in self.changes:
                self.results.append((change, _is_noticed(self.module, change, self._tests_at(session, change.lines))))
        return done

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Note the lines that a test comes by."""
        self._now = self._lines.setdefault(item.nodeid, set())
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what a part of a test took."""
        self._seconds[report.nodeid] = self._seconds.get(report.nodeid, 0.0) + report.duration

    def _come_by(self, line: int) -> None:
        self._now.add(line)

    def _tests_at(self, session: pytest.Session, lines: range) -> list[pytest.Item]:
        """The tests that come by one of these lines, the quickest first."""
        found = [item for item in session.items if not self._lines[item.nodeid].isdisjoint(lines)]
        chosen, together = list[pytest.Item](), 0.0
        for item in sorted(found, key=lambda item: self._seconds[item.nodeid]):
            together += self._seconds[item.nodeid]
            if together <= ENOUGH_SECONDS:
                chosen.append(item)
        return chosen


class _Told(ast.NodeTransformer):
    """Has every statement of a function tell its line first. A tracer of all calls would take minutes."""

    def visit(self, node: ast.AST) -> ast.AST:
        self.generic_visit(node)
        for name in ("body", "orelse", "finalbody"):
            told: list[ast.stmt] = []
            for statement in (
                getattr(node, name, ()) if not isinstance(node, ast.Module | ast.ClassDef | ast.expr) else ()
            ):
                told += [*ast.parse(f"come_by({statement.lineno})").body, statement]
            if told:
                setattr(node, name, told)
        return node


def changes(text: str) -> Iterator[Change]:
    """Every change of a module's functions, in the order of its lines."""
    tree = ast.parse(text)
    starts = [0]
    for line in text.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for scope, statement in _statements(tree, ""):
        for node, after in _changed(statement):
            begin = starts[node.lineno - 1] + node.col_offset
            end = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
            raw = text.encode()
            before = raw[begin:end].decode()
            shown = " ".join(before.split())
            name = f"{scope}: {shown} -> {' '.join(after.split())}"
            whole = (raw[:begin] + after.encode() + raw[end:]).decode()
            yield Change(name, range(statement.lineno, (statement.end_lineno or statement.lineno) + 1), whole)


def _statements(tree: ast.AST, scope: str) -> Iterator[tuple[str, ast.stmt]]:
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _statements(child, f"{scope}.{child.name}".lstrip("."))
        elif isinstance(child, ast.stmt):
            if scope and not isinstance(tree, ast.ClassDef):
                yield scope, child
            yield from _statements(child, scope)
        elif isinstance(child, ast.ExceptHandler):
            yield from _statements(child, scope)


def _changed(statement: ast.stmt) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    """What may stand instead of a statement and of the expressions that are its own."""
    if isinstance(statement, ast.Expr):
        if isinstance(statement.value, ast.Constant) or _is_of_the_log(statement.value):
            return
        yield statement, "pass"
    if isinstance(statement, ast.Break):
        yield statement, "pass"
    if isinstance(statement, ast.If | ast.While):
        yield statement.test, f"(not ({ast.unparse(statement.test)}))"
    for child in ast.iter_child_nodes(statement):
        if isinstance(child, ast.expr):
            yield from _expressions(child)


def _expressions(node: ast.expr) -> Iterator[tuple[ast.expr, str]]:
    if _is_of_the_log(node):
        return
    match node:
        case ast.Compare(ops=[op], left=left, comparators=[right]) if type(op) in _COMPARED:
            yield node, f"({ast.unparse(left)} {_COMPARED[type(op)]} {ast.unparse(right)})"
        case ast.BoolOp(op=op, values=values):
            for index in range(len(values)):
                rest = values[:index] + values[index + 1 :]
                yield node, f"({ast.unparse(ast.BoolOp(op, rest) if len(rest) > 1 else rest[0])})"
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield node, f"({ast.unparse(operand)})"
        case ast.BinOp(op=op, left=left, right=right) if type(op) in _COUNTED:
            yield node, f"({ast.unparse(left)} {_COUNTED[type(op)]} {ast.unparse(right)})"
        case ast.Constant(value=bool() as value):
            yield node, str(not value)
        case ast.Constant(value=int() | float() as value):
            yield node, repr(value + 1)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            yield node, f"({ast.unparse(body)} if not ({ast.unparse(test)}) else {ast.unparse(orelse)})"
    for child in ast.walk(node):
        if child is not node and isinstance(child, ast.expr) and _parent_of(node, child):
            yield from _expressions(child)


def _parent_of(node: ast.expr, child: ast.expr) -> bool:
    """Whether the child hangs on the node with nothing but keywords and comprehensions in between."""
    if isinstance(node, ast.JoinedStr):
        return False
    for step in ast.iter_child_nodes(node):
        inner = ast.iter_child_nodes(step) if isinstance(step, ast.keyword | ast.comprehension) else (step,)
        if any(each is child for each in inner):
            return True
    return False


def _is_of_the_log(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "log"
    )


def _functions(module: types.ModuleType) -> Iterator[tuple[str, types.FunctionType]]:
    """The functions that a module defines, and the methods of its classes."""
    for name, value in vars(module).items():
        if isinstance(value, types.FunctionType) and value.__module__ == module.__name__:
            yield name, value
        elif isinstance(value, type) and value.__module__ == module.__name__:
            for inner, method in vars(value).items():
                function = method.fget if isinstance(method, property) else method
                if isinstance(function, types.FunctionType) and function.__code__.co_filename == module.__file__:
                    yield f"{name}.{inner}", function


def _put_in(module: types.ModuleType, text: str | ast.Module) -> None:
    """Give the functions of a loaded module other code, wherever they were imported to."""
    other = types.ModuleType(module.__name__)
    other.__file__ = module.__file__
    exec(compile(text, str(module.__file__), "exec"), vars(other))  # noqa: S102 - the checkout's own text, changed by one word
    new = dict(_functions(other))
    for name, function in _functions(module):
        function.__code__ = new[name].__code__


def _is_noticed(module: types.ModuleType, change: Change, items: Sequence[pytest.Item]) -> bool:
    """Whether a test fails, or never ends, in a fork with the change."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(HANG_SECONDS)
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            _put_in(module, change.text)
            status = int(any(report.failed for item in items for report in runtestprotocol(item, log=False)))
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    return status != 0


def scored(file: str, wanted: str = "") -> list[tuple[Change, bool]]:
    """Each change of a module whose name holds the text, and whether it was noticed.

    Raises:
        RuntimeError: the tests fail as things are.
    """
    module = import_module("shopperd." + file.removesuffix(".py").replace("/", "."))
    text = Path(ROOT / "shopperd" / file).read_text(encoding="utf-8")
    trial = _Trial(module, text, [change for change in changes(text) if wanted in change.name])
    os.chdir(ROOT)
    status = pytest.main([*_QUIET, *TESTS[file]], plugins=[trial])
    if status != 0:
        raise RuntimeError(f"the tests of {file} fail without any change (status {status})")
    return trial.results
