"""What the source never does: run code from data, hide errors, check with what `python -O` removes."""

import ast
from collections.abc import Iterator

import pytest
from tree import SOURCES, dotted, name_of, parsed

PICKLES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
FORBIDDEN_CALLS = {
    *("eval", "exec", "__import__"),
    *("torch.load", "torch.save", "yaml.load", "yaml.unsafe_load", "yaml.full_load"),
    *("os.system", "os.popen"),
}
FORBIDDEN_OPTIONS = {"allow_pickle", "shell"}


def forbidden(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Lines that run code from data, hide errors, or vanish under `python -O`."""
    aliases = {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    aliases |= {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and not node.level
        for alias in node.names
    }
    for name, real in aliases.items():
        if real.split(".")[0] in PICKLES:
            yield 0, f"imports {real} as {name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            first, dot, rest = dotted(node.func).partition(".")
            if (called := aliases.get(first, first) + dot + rest) in FORBIDDEN_CALLS:
                yield node.lineno, f"calls {called}"
            for option in node.keywords:
                off = isinstance(option.value, ast.Constant) and option.value.value is False
                if option.arg in FORBIDDEN_OPTIONS and not off:
                    yield node.lineno, f"passes {option.arg}"
            if called.endswith("suppress") and {"Exception", "BaseException"} & set(map(dotted, node.args)):
                yield node.lineno, "suppresses every error"
        elif isinstance(node, ast.Assert):
            yield node.lineno, "asserts outside of tests"
        elif isinstance(node, ast.ExceptHandler) and _swallows(node):
            yield node.lineno, "swallows every error"


def _swallows(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    every = handler.type is None or any(dotted(kind) in ("Exception", "BaseException") for kind in kinds)
    silent = all(isinstance(line, (ast.Pass, ast.Continue)) or _is_text(line) for line in handler.body)
    return every and silent


def _is_text(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from marshal import loads",
        "import torch as t; t.load(f)",
        "from torch import load; load(f)",
        "torch.save(x, f)",
        "eval('1')",
        "exec(code)",
        "import yaml; yaml.load(f)",
        "np.load(f, allow_pickle=True)",
        "np.load(f, allow_pickle=trust)",
        "subprocess.run(c, shell=True)",
        "os.system(c)",
        "assert x",
        "try: f()\nexcept Exception: pass",
        "try: f()\nexcept: ...",
        "try: f()\nexcept (OSError, BaseException) as error:\n    'why not'",
        "with contextlib.suppress(Exception): f()",
    ],
)
def test_each_forbidden_line_is_found(line):
    assert len(list(forbidden(ast.parse(line)))) == 1


@pytest.mark.parametrize(
    "line",
    [
        "net.eval()",
        "from safetensors.torch import load; load(f)",
        "np.load(f, allow_pickle=False)",
        "try: f()\nexcept OSError: pass",
        "try: f()\nexcept Exception as error: raise InputError('what') from error",
        "with suppress(OSError): f()",
    ],
)
def test_what_is_allowed_is_let_through(line):
    assert not list(forbidden(ast.parse(line)))


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_nothing_runs_code_from_data_or_hides_errors(path):
    assert not list(forbidden(parsed(path)))
