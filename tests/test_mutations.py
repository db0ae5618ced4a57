"""Every bug of mutations.yaml can still be put back; whether a test notices it, `tests.mutations` shows."""

import ast

import pytest

from tests.mutations import ROOT, Mutation, MutationError, load


def test_every_mutation_can_be_put_back():
    for mutation in load().values():
        ast.parse(mutation.apply((ROOT / "dfcvae" / mutation.file).read_text()))
        assert (ROOT / mutation.tests).is_file(), mutation.name


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("b+1", "b - 1", "def f(b):\n    b = g(b)\n    return b - 1"),
        ("b = g(b)", "pass", "def f(b):\n    pass\n    return b + 1"),
        ("", "f = g", "f = g"),
        ("b", "c", "found it 2 times"),
        ("b = g(c)", "pass", "found it 0 times"),
    ],
)
def test_code_is_replaced_on_the_syntax_tree_where_it_is_there_once(old, new, expected):
    source = "def f(b):\n    b = g( b )  # a comment\n    return (b + 1)\n"
    mutation = Mutation("m", "x.py", "f", old, new, "tests/x.py", "")
    if "found" in expected:
        with pytest.raises(MutationError, match=expected):
            mutation.apply(source)
    else:
        assert mutation.apply(source) == expected
