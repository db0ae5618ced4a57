"""The notebooks: committed as they ran, from public names alone; the slow tier runs them small, nightly whole."""

import ast
import importlib
import re
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PUBLIC = {"dfcvae", *(f"dfcvae.{name}" for name in ("losses", "data", "evaluation", "latent"))}
PLAIN = {f"dfcvae.{name}" for name in ("images", "config", "features", "plots", "attribute_network")}  # but for _names
MACHINE_PATH = re.compile(r"(?<![\w.])/(tmp|home|root|usr|work|opt|var|mnt|Users)/|\b[A-Z]:\\")

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def texts(output):
    """The text of an output: streams, tables and representations, no pictures."""
    if output.output_type == "stream":
        return [output.text]
    return [value for kind, value in output.get("data", {}).items() if not kind.startswith("image/")]


def is_public(module, name):
    if module in PUBLIC:
        return name in importlib.import_module(module).__all__ or f"{module}.{name}" in PUBLIC | PLAIN
    return module in PLAIN and not name.startswith("_")


def imports(code):
    """What code imports from the package: (module, name); the name is empty for ``import dfcvae.module``."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found = [(alias.name, "") for alias in node.names]
        else:
            found = [(node.module, alias.name) for alias in node.names] if isinstance(node, ast.ImportFrom) else []
        yield from (pair for pair in found if pair[0].split(".")[0] == "dfcvae")


@every_notebook
def test_every_cell_ran_in_order_without_error_and_names_no_machine(path):
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert outputs
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    for text in (text for output in outputs for text in texts(output)):
        assert not MACHINE_PATH.search(str(text)), text
    assert path.stat().st_size < 2_000_000


@every_notebook
def test_notebooks_use_public_names_and_choose_the_faces_first(path):
    cells = code_cells(path)
    names = list(imports("\n".join(cell.source for cell in cells)))
    assert names
    assert not [pair for pair in names if not is_public(*pair)]
    assert re.search(r'^SOURCE = "synthetic"', cells[0].source, flags=re.MULTILINE)


class ThisInterpreter(KernelSpecManager):
    """Kernels of the Python that runs the tests, whatever is installed elsewhere."""

    def get_kernel_spec(self, kernel_name):
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="Python 3", language="python")


SMALLER = {  # what takes long, by pattern
    r"train_images=\d+": "train_images=200",
    r"epochs=\d+": "epochs=1",
    r"\.subset\(\d+\)": ".subset(60)",
    r"latent_dim=\d+": "latent_dim=16",
    r"images\[:32\]": "images[:8]",
    r"before = .*": "before = torch.zeros(len(test_mu), len(judge.names), dtype=bool)",  # by a judge that learnt little
    r"steps=\(0, .*?\)": "steps=(0, 1, 2)",
}
FEW_FACES = "import dfcvae.data.source; dfcvae.data.source.SYNTHETIC_HELD_OUT = 60"


SIZES = [pytest.param(True, marks=pytest.mark.slow), pytest.param(False, marks=pytest.mark.nightly)]


@pytest.mark.parametrize("small", SIZES)
@every_notebook
def test_notebooks_run(path, small, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(path, as_version=4)
    if small:
        for cell in notebook.cells:
            for pattern, short in SMALLER.items():
                cell.source = re.sub(pattern, short, cell.source)
        notebook.cells.insert(0, nbformat.v4.new_code_cell(FEW_FACES))
    place = {"metadata": {"path": str(tmp_path)}}
    client = NotebookClient(notebook, timeout=3000, startup_timeout=600, resources=place)  # for machines that are busy
    client.create_kernel_manager().kernel_spec_manager = ThisInterpreter()
    client.execute()  # an error carries the traceback of the cell
    assert not list(tmp_path.iterdir()), "a notebook left files in its folder"
