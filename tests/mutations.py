"""Bugs that perceptual losses really had, put back one at a time: each must make a test fail.

    python -m tests.mutations [NAME ...]      all of mutations.yaml, or those named; twenty minutes on one core
    python -m tests.mutations --check         whether all of them can be put back; seconds

None of these bugs raises an error: training continues, and the numbers are wrong. In a copy of the package and its
tests, a piece of a function is replaced on the syntax tree, and the tests that should notice are run.
"""

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

ROOT = Path(__file__).parents[1]
COPIED = ("dfcvae", "tests", "setup.cfg", "pyproject.toml")
PATIENCE = 3600  # seconds for the tests of one mutation, or of all without any
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+::.*?)(?: - (.*))?$", re.MULTILINE)
# A mutation that fails like this does not bring a bug back: it is written wrongly.
BROKEN = ("NameError", "ImportError", "AttributeError", "SyntaxError", "UnboundLocalError")


class MutationError(Exception):
    """A mutation that cannot be judged, as a sentence."""


@dataclass(frozen=True)
class Mutation:
    """An entry of mutations.yaml."""

    name: str
    file: str  # of the package
    place: str  # the qualified name of a function, class or constant in it
    old: str  # code there; empty for all of it
    new: str  # what to put in its place
    tests: str  # the file of tests that should notice
    only: str  # the tests of the file to run, as for pytest's ``-k``, to save time

    def apply(self, source: str) -> str:
        """The source of the file with the bug.

        Raises:
            MutationError: unless the place is there, and the old code exactly once in it.
        """
        tree = scope = ast.parse(source)
        for name in self.place.split("."):
            holder, found = scope, [node for node in scope.body if name in _names(node)]
            if len(found) != 1:
                raise MutationError(
                    f"{self.name}: {self.file} has no {self.place}; bring tests/mutations.yaml up to date."
                )
            (scope,) = found
        old, new = ast.parse(self.old).body, ast.parse(self.new).body
        if not old:
            index = holder.body.index(scope)
            holder.body[index : index + 1] = new
            return ast.unparse(tree)
        if all(len(code) == 1 and isinstance(code[0], ast.Expr) for code in (old, new)):
            old, new = [old[0].value], [new[0].value]  # an expression, wherever it stands
        count = _replace(scope, old, new)
        if count != 1:
            raise MutationError(
                f"{self.name}: expected its code once in {self.place} of {self.file}, found it {count} times:\n"
                f"{self.old}\nBring tests/mutations.yaml up to date."
            )
        return ast.unparse(tree)


def _names(node: ast.stmt) -> list[str]:
    """The names that a statement defines."""
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [getattr(node, "name", "")] + [target.id for target in targets if isinstance(target, ast.Name)]


def _replace(scope: ast.AST, old: Sequence[ast.AST], new: Sequence[ast.AST]) -> int:
    """Replace an expression or a run of statements wherever it occurs; how often it does."""
    count, wanted = 0, [ast.dump(node) for node in old]
    for node in list(ast.walk(scope)):
        for field, value in ast.iter_fields(node):
            parts = value if isinstance(value, list) else [value]
            for i in range(len(parts)):
                if [ast.dump(part) for part in parts[i : i + len(old)] if isinstance(part, ast.AST)] == wanted:
                    parts[i : i + len(old)] = new
                    setattr(node, field, value if value is parts else parts[0])
                    count += 1
    return count


def load() -> dict[str, Mutation]:
    """All mutations by name."""
    mutations = {}
    for where, entries in yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text()).items():
        for entry in entries:
            tests, _, only = entry["tests"].partition(" -k ")
            name, old, new = next(iter(entry)), entry.get("old", ""), entry["new"]
            mutations[name] = Mutation(name, *where.split(), old, new, f"tests/{tests}", only)
    return mutations


def run_tests(folder: Path, files: Sequence[str], only: str) -> str | None:
    """The first of the tests that fails in a copy; None if all pass."""
    environment = os.environ | {"PYTHONPATH": str(folder), "COLUMNS": "500", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    tier = ["-m", "not nightly"] if only else []  # tests that were chosen by name may be of the slow tier
    options = ["-x", "-q", "-p", "no:cacheprovider", "--tb=line", "-k", only, *tier]
    command = [sys.executable, "-m", "pytest", *options, *files]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode == 0:
        return None
    failed = FAILED.search(done.stdout)
    if done.returncode != 1 or not failed:
        raise MutationError(f"The tests did not run: {shlex.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    if failed[2] and failed[2].startswith(BROKEN):
        raise MutationError(f"{failed[1]} fails for another reason: {failed[2]}")
    return failed[1]


def unchanged(clean: Path, mutations: Sequence[Mutation]) -> str | None:
    """The first test of these mutations that fails without any of them, or None."""
    files = dict.fromkeys(mutation.tests for mutation in mutations)
    tests = dict.fromkeys(f"({Path(m.tests).stem} and ({m.only}))" if m.only else Path(m.tests).stem for m in mutations)
    return run_tests(clean, list(files), " or ".join(tests))


def caught_by(mutation: Mutation, copy: Path) -> str | None:
    """The first test that notices a mutation, or None."""
    file = copy / "dfcvae" / mutation.file
    source = file.read_text()
    try:
        file.write_text(mutation.apply(source))
        return run_tests(copy, [mutation.tests], mutation.only)
    finally:
        file.write_text(source)


def main(names: list[str]) -> int:
    """Judge the mutations of these names, or all; the exit status."""
    known = load()
    if names == ["--check"]:
        for mutation in known.values():
            mutation.apply((ROOT / "dfcvae" / mutation.file).read_text())
        print(f"All {len(known)} mutations can be put back.")
        return 0
    if unknown := [name for name in names if name not in known]:
        print(f"There is no mutation {', '.join(unknown)}; there are {', '.join(known)}.")
        return 2
    chosen = [known[name] for name in names or known]
    survived = 0
    with TemporaryDirectory() as folder:
        copy = Path(folder)
        for path in COPIED:
            (shutil.copytree if (ROOT / path).is_dir() else shutil.copy2)(ROOT / path, copy / path)
        if failed := unchanged(copy, chosen):
            print(f"Without any mutation {failed} fails; fix that first.")
            return 1
        for mutation in chosen:
            caught = caught_by(mutation, copy)
            survived += caught is None
            print(f"{mutation.name:<36}{f'caught by {caught}' if caught else 'SURVIVED'}", flush=True)
    print(f"{len(chosen) - survived} of {len(chosen)} mutations caught, {survived} survived.")
    return 1 if survived else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except MutationError as error:
        sys.exit(str(error))
