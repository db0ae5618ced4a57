"""The layers of the package, read from its imports: everything imports downwards, and nothing in a circle."""

import ast
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import dfcvae

PACKAGE = Path(__file__).parents[1] / "dfcvae"
FILES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}

# Files and folders by layer, from the bottom. A layer may use itself, without cycles.
LAYERS = [
    "config device disturbances errors fields files gaussian hub images registry seeding sheet table",
    "checkpoint features networks vae vgg weights",
    "latent losses",
    "data fitted",
    "attribute_network bench build card distil evaluation explore exporting metrics onnxfiles plots report run "
    "targets trained training webpage",
    "ablate demo executor paper study",
    "__main__ cli commands",
]
LAYER = {name: level for level, names in enumerate(LAYERS) for name in names.split()}
HEAVY = {"lightning", "torchmetrics", "wandb", "matplotlib", "scipy", "sklearn", "tensorboard"}
FIRST_WITH_HEAVY = LAYER["training"]
ON_USE = {
    "wandb",
    "onnxruntime",
    "onnx",
    "onnxscript",
    "huggingface_hub",
}  # imported within the functions that need them
OF_THE_EXPLORER = {"nicegui", "starlette"}


def part(name):
    """The top-level file or folder of a module, ``losses`` of ``dfcvae.losses.base``."""
    return name.split(".")[1]


@cache
def tree(path):
    return ast.parse(path.read_text())


def imports(path, top_level_only=False):
    """Names that a file imports, ``dfcvae.losses.base.ImageLoss``; under TYPE_CHECKING and in functions too."""
    for node in ast.iter_child_nodes(tree(path)) if top_level_only else ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute, so that this test can read them"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_of(name):
    """The module that holds a name."""
    return name if name in FILES else name.rpartition(".")[0]


MODULES = {name: path for name, path in FILES.items() if name != "dfcvae"}
OURS = {
    name: [i for i in imports(path) if i.startswith("dfcvae") and "__version" not in i] for name, path in FILES.items()
}


def test_imports_point_downwards():
    assert not [name for name in MODULES if part(name) not in LAYER], "give these a place in the layers"
    assert not [
        f"{name} imports {imported}"
        for name in MODULES
        for imported in OURS[name]
        if module_of(imported) == "dfcvae" or LAYER[part(imported)] > LAYER[part(name)]
    ]


def test_imports_have_no_cycle():
    graph = {name: {module_of(imported) for imported in OURS[name]} - {name} for name in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_libraries_are_imported_where_they_belong():
    wrong = []
    for name, path in MODULES.items():
        at_start = set(imports(path, top_level_only=True))
        for imported in imports(path):
            root = imported.split(".")[0]
            light = imported.startswith(("torchmetrics.functional", "sklearn")) and imported not in at_start
            if (
                (root in HEAVY and not light and LAYER[part(name)] < FIRST_WITH_HEAVY)
                or (root in ON_USE and imported in at_start)
                or (root in OF_THE_EXPLORER and part(name) != "explore")
            ):
                wrong.append(f"{name} imports {imported}")
    assert not wrong


def test_no_argument_is_swallowed():
    """Keyword arguments that a function does not name are handed on to one that does."""
    assert not [
        f"{name}: {function.name}"
        for name, path in FILES.items()
        for function in ast.walk(tree(path))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and function.args.kwarg
        if function.args.kwarg.arg
        not in {ast.unparse(node.value) for node in ast.walk(function) if isinstance(node, ast.keyword)}
    ]


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_the_command_line_starts_without_torch():
    code = "import sys; import dfcvae.cli as c; c.command_parser('train').format_help(); print('torch' in sys.modules)"
    assert run(code).strip() == "False"


def test_importing_the_package_touches_neither_network_nor_cuda_nor_nicegui():
    code = """
import socket, sys
def refuse(*_, **__): raise AssertionError("network")
socket.socket.connect = socket.getaddrinfo = refuse
import dfcvae
for name in dfcvae.__all__: getattr(dfcvae, name)
import torch
import dfcvae.trained
print(torch.cuda.is_initialized(), "nicegui" in sys.modules, "starlette" in sys.modules)
"""
    assert run(code).split() == ["False"] * 3


def test_public_names_exist_and_others_do_not():
    assert all(hasattr(dfcvae, name) for name in dfcvae.__all__)
    with pytest.raises(AttributeError, match="no attribute 'VEA'"):
        dfcvae.VEA  # noqa: B018
