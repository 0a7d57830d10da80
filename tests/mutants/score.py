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
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from importlib import import_module
from pathlib import Path

import click
import pytest
from _pytest.runner import runtestprotocol
from attrs import define, field, frozen

from tests.mutants.mutant import ROOT

TESTS = {
    "jobs/destroys.py": ("tests/jobs/test_acting.py", "tests/jobs/test_destroys.py"),
    "reconcile.py": ("tests/test_reconcile.py", "tests/test_rest.py", "tests/heart/test_findings.py"),
    "lifecycle.py": ("tests/test_lifecycle.py", "tests/test_reconcile.py", "tests/heart/test_findings.py"),
    "sightings.py": ("tests/test_sightings.py", "tests/test_reconcile.py", "tests/test_rest.py"),
    "rest.py": ("tests/test_rest.py", "tests/test_reconcile.py"),
    "attempts.py": ("tests/test_attempts.py",),
}
"""What can be scored, and by which tests."""

SAME: dict[str, dict[str, str]] = {
    "jobs/destroys.py": {
        "DestroysJob._postpone: 1 -> 2": (
            "nothing is put off before it was looked at, so the first of the two is never taken"
        ),
        "DestroysJob._last_look: track is not None and is_present(track) and self._listing_is_fresh() -> (track "
        "is not None and self._listing_is_fresh())": (
            "a verdict on what is missed is held before, and a command goes on anyway"
        ),
        "_postpone: job.hold is not hold and hold is not None -> (job.hold is not hold)": (
            "without a hold it is put off only where it has none; for the types"
        ),
        "_waits_for_proof: job.accepted_at is not None and track is not None and not is_present(track) and "
        "track.absences > 0 -> (job.accepted_at is not None and track is not None and (track.absences > 0))": (
            "what was missed is not present"
        ),
    },
    "reconcile.py": {
        "observe: track.gone_at is not None -> (track.gone_at is None)": (
            "it tells what comes first of what is told; a gone one that is not seen changes nothing"
        ),
        "observe: before is None and account.missed_since is not None -> (before is None)": "None is put where None is",
        "observe: before is not None and before is not track and before.instance.tag != track.instance.tag -> "
        "(before is not None and before.instance.tag != track.instance.tag)": (
            "the very same has the same tag, which is quicker to see"
        ),
        "_differs: before is not after and before != after -> (before != after)": (
            "the very same is equal, which is quicker to see"
        ),
        "_advance_sessions: (id_ := session.instance_id) is not None and id_ in replaced and session.account == "
        "account.name and tracks[id_].instance.session_id != session.id -> ((id_ := session.instance_id) is not "
        "None and id_ in replaced and (tracks[id_].instance.session_id != session.id))": (
            "sessions of other accounts are not moved below"
        ),
        "_advance_sessions: session.account == account.name and session.instance_id is not None and "
        "holds_binding(session) and session.id not in stolen -> (session.account == account.name and "
        "holds_binding(session) and (session.id not in stolen))": ("nobody asks who holds what has no id"),
        "_advance_sessions: step.session.instance_id is not None and step.session.instance_id != "
        "session.instance_id -> (step.session.instance_id != session.instance_id)": (
            "no step takes an id from a session; for the types"
        ),
        "_condemned: track.kind is not None and is_present(track) -> (is_present(track))": (
            "`plan` passes by what has no verdict, for the types"
        ),
        "guards_of_request: False -> True": (
            "such a track has no verdict, which holds it as well, and a command is not asked whether it was seen"
        ),
    },
    "lifecycle.py": {
        "best_claimant.rank: 0.0 -> 1.0": (
            "all that tell no start get the same number, and only they are compared by it"
        ),
        '_find: failed.reason or "" -> (failed.reason)': (
            "the reason was given in the line before; the rest is for the types"
        ),
        '_find: failed.reason or "" -> (failed.reason) (2)': (
            "the reason was given in the line before; the rest is for the types"
        ),
        '_follow: session.instance_id or "" -> (session.instance_id)': "it has one; the rest is for the types",
        "_follow: not is_present(track) or _shows(session, track.instance) -> (not is_present(track))": (
            "the quick answer to what is compared two lines below"
        ),
        '_come_back: session.instance_id or "" -> (session.instance_id)': "no track has either for its id",
        "_come_back: own is not None and returned and not replaced -> (returned and (not replaced))": (
            "what returned is not None; the rest is for the types"
        ),
    },
    "sightings.py": {
        "merged: getattr(after, name) is None and getattr(before, name) is not None -> (getattr(after, name) is None)": (
            "None is put where None is"
        ),
        "_tells_the_same: after == before or merged(before, after) == before -> (merged(before, after) == before)": (
            "what is equal stays so when it is merged; not to merge is quicker"
        ),
        "fleet_after: fleet.jump_at > now -> (fleet.jump_at >= now)": "now is put where now is",
    },
    "rest.py": {
        "Rest.stirred_by: self.machines and snapshot.complete and in_time and settings == self.settings -> "
        "(snapshot.complete and in_time and (settings == self.settings))": (
            "a rest without machines leaves nothing out"
        ),
        "Rest._ended: row_now is not row and row_now != row -> (row_now != row)": (
            "a row is equal to itself, which is quicker to see"
        ),
        "Rest._ended: len(bound) < len(sessions) -> (len(bound) <= len(sessions))": (
            "of as many, none is behind another; not to look is quicker"
        ),
        'Rest._without: id_ or "" -> (id_)': "no machine has either for its id",
        "_differing: True -> False": "both are of one length",
    },
}
"""By module, the changes that nobody can notice, and why."""

ENOUGH_SECONDS = 40.0
"""The quickest tests that come by a line, until they take so long together: the slow ones walk through days, and tell of no more.
Only what survives takes as long, so there is room for a machine with other work."""

HANG_SECONDS = 60
"""A test that takes longer never ends, and that is noticed."""

NO_PROGRAM = 2
"""The status of a fork in which a change could not be put in."""

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
    "--capture=no",
    "--tb=no",
    "--no-header",
]


@frozen
class Change:
    """One change. `lines` are those of its statement; `text` is the whole module with it.

    Of several that read alike in one function the name tells which one it is, by a number behind it.
    """

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
    tell: Callable[[Change, bool], object]
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
            click.echo()
            for change in self.changes:
                noticed = _is_noticed(self.module, change, self._tests_at(session, change.lines))
                self.results.append((change, noticed))
                self.tell(change, noticed)
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
    alike = Counter[str]()
    for scope, statement in _statements(tree, ""):
        for node, after in _changed(statement):
            begin = starts[node.lineno - 1] + node.col_offset
            end = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
            raw = text.encode()
            before = raw[begin:end].decode()
            shown = " ".join(before.split())
            name = f"{scope}: {shown} -> {' '.join(after.split())}"
            whole = (raw[:begin] + after.encode() + raw[end:]).decode()
            alike[name] += 1
            if alike[name] > 1:
                name += f" ({alike[name]})"
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
                function = method.fget if isinstance(method, property) else getattr(method, "__func__", method)
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
    """Whether a test fails, or never ends, in a fork with the change.

    Raises:
        RuntimeError: the change is no program, and so nothing that a test could notice.
    """
    child = os.fork()
    if child == 0:
        status = NO_PROGRAM
        try:
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            _put_in(module, change.text)
            status = 1
            status = int(any(_fails(item) for item in items))
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) == NO_PROGRAM:
        raise RuntimeError(f"{change.name} cannot be put in")
    return status != 0


def _fails(item: pytest.Item) -> bool:
    signal.alarm(HANG_SECONDS)
    return any(report.failed for report in runtestprotocol(item, log=False))


def scored(file: str, wanted: str, tell: Callable[[Change, bool], object]) -> list[tuple[Change, bool]]:
    """Each change of a module whose name holds the text, and whether it was noticed; `tell` hears of each at once.

    Raises:
        RuntimeError: the tests fail as things are, or a change is no program.
    """
    module = import_module("shopperd." + file.removesuffix(".py").replace("/", "."))
    text = Path(ROOT / "shopperd" / file).read_text(encoding="utf-8")
    trial = _Trial(module, text, [change for change in changes(text) if wanted in change.name], tell)
    os.chdir(ROOT)
    status = pytest.main([*_QUIET, *TESTS[file]], plugins=[trial])
    if status != 0:
        raise RuntimeError(
            f"the tests of {file} do not pass without any change, or one cannot be put in (status {status})"
        )
    return trial.results
