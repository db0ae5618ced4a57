"""The layers of the package, read from its imports: everything imports downwards only."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "dfcvae"

LAYERS = [
    {"device", "errors", "files", "memory", "paths", "precision"},
    {"parsing", "ranges", "yamlfile"},
    {"feature_config"},
    {
        "config",
        "disturbances",
        "gaussian",
        "images",
        "seeding",
        "tensorfiles",
        "vgg",
        "networks",
    },
    {"weights", "vae", "animation"},
    {"features"},
    {"losses", "latent"},
    {"data"},
    {"fitted"},
    {"training", "evaluation", "exporting", "plots"},
    {"popular"},
    {"parsing", "report", "bench", "explore"},
    {"demo", "study"},
    {"executor"},
    {"ablate"},
    {"paper"},
    {"commands"},
    {"cli"},
    {"__main__"},
]
HEAVY = {"lightning", "torchmetrics", "wandb", "matplotlib", "scipy", "sklearn", "tensorboard"}
FIRST_WITH_HEAVY = 7


def modules():
    return sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py" or path.parent != PACKAGE)


def part(path):
    """The top-level part of the package a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def layer(name):
    found = [i for i, names in enumerate(LAYERS) if name in names]
    assert found, f"{name} has no place in the layers; give it one"
    return found[0]


def imports(path, top_level_only=False):
    tree = ast.parse(path.read_text())
    for node in ast.iter_child_nodes(tree) if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute, so that this test can read them"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path):
    for name in imports(path):
        root, _, rest = name.partition(".")
        if root != "dfcvae":
            light = name.startswith(("torchmetrics.functional", "sklearn"))
            on_use = light and name not in imports(path, top_level_only=True)
            assert root not in HEAVY or on_use or layer(part(path)) >= FIRST_WITH_HEAVY, f"{name} starts too low"
        elif rest != "__version__":
            assert rest, "nobody imports the facade"
            imported = rest.split(".")[0]
            assert imported == part(path) or layer(imported) < layer(part(path)), f"{part(path)} imports {imported}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_argument_is_swallowed(path):
    """Keyword arguments that a function does not name are handed on to one that does."""
    for function in ast.walk(ast.parse(path.read_text())):
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)) and function.args.kwarg:
            handed_on = {ast.unparse(node.value) for node in ast.walk(function) if isinstance(node, ast.keyword)}
            signature_of_lightning = function.name == "log_hyperparams"
            assert function.args.kwarg.arg in handed_on or signature_of_lightning, function.name


def test_wandb_is_imported_only_when_chosen():
    for path in modules():
        assert "wandb" not in set(imports(path, top_level_only=True)), path


def test_onnxruntime_is_imported_only_when_a_judge_needs_it():
    for path in modules():
        assert "onnxruntime" not in set(imports(path, top_level_only=True)), path


def test_nicegui_is_imported_only_by_the_explorer():
    for path in modules():
        if any(name.split(".")[0] in ("nicegui", "starlette") for name in imports(path)):
            assert part(path) == "explore", path


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout


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
import dfcvae.commands.faces
print(torch.cuda.is_initialized(), "nicegui" in sys.modules, "starlette" in sys.modules)
"""
    assert run(code).split() == ["False"] * 3


def test_public_names_exist_and_others_do_not():
    import dfcvae

    assert all(hasattr(dfcvae, name) for name in dfcvae.__all__)
    with pytest.raises(AttributeError, match="no attribute 'VEA'"):
        dfcvae.VEA  # noqa: B018
