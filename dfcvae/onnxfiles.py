"""A VAE as ONNX files, ``encoder.onnx`` and ``decoder.onnx``, for programs without PyTorch."""

import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from dfcvae.checkpoint import public_config, read_model
from dfcvae.errors import UserError
from dfcvae.files import atomic_files
from dfcvae.vae import VAE

if TYPE_CHECKING:
    from onnx import ModelProto

LIBRARIES = ("onnx", "onnxscript", "onnxruntime")
CHECKED = 3  # latents
TOLERANCE = 1e-3  # of images in [0, 1], and of latents relative to the largest


def export_onnx(model: str | Path, out: str | Path) -> dict[str, float]:
    """Write ``encoder.onnx`` and ``decoder.onnx``, or neither, checked against PyTorch by onnxruntime.

    Both take any number of images or latents. Names, shapes, ranges, size, crop and filter are in their metadata.

    Args:
        model: a run folder, a checkpoint, an exported folder, or the name of a shipped model.
        out: the folder, created if it is missing; files of an earlier export are replaced.

    Returns:
        The largest differences of ``images``, ``mu`` and ``logvar`` from PyTorch's.

    Raises:
        UserError: if a library or the model is missing, or its network cannot be exported.
    """
    check_libraries()
    vae, about = VAE.load(model), metadata(model)
    z = latents(vae, CHECKED)
    with torch.no_grad():
        x = vae.decode(z)
    encoder = to_onnx(vae.encoder, "x", x, ["mu", "logvar"], about)
    decoder = to_onnx(vae.decoder, "z", z, ["images"], about)
    differences = compare(encoder, vae.encoder, x) | compare(decoder, vae.decoder, z)
    with atomic_files(Path(out) / "encoder.onnx", Path(out) / "decoder.onnx") as files:
        for file, graph in zip(files, (encoder, decoder), strict=True):
            file.write_bytes(graph.SerializeToString())
    return differences


def check_libraries() -> None:
    """Raise a UserError unless all that the export needs can be imported."""
    try:
        for library in LIBRARIES:
            import_module(library)
    except ImportError as error:
        raise UserError(f'ONNX needs {", ".join(LIBRARIES)}; run pip install -e ".[onnx]" ({error}).') from error


def latents(vae: VAE, count: int) -> Tensor:
    """Draws (count, D) from N(0, I) to check with, always the same."""
    return torch.randn(count, vae.latent_dim, generator=torch.Generator().manual_seed(0))


def metadata(model: str | Path) -> dict[str, str]:
    """What a program needs to know of the files, as text: it is stored in them."""
    about, _ = read_model(model)
    vae, data = about["vae"], public_config(about["config"]).get("data", {})
    side, kind = vae["size"], "grey" if vae["channels"] == 1 else "RGB"
    images, latent = f"float32 (N, {vae['channels']}, {side}, {side}), {kind}, in [0, 1]", f"(N, {vae['latent_dim']})"
    return {
        "made with": "dfcvae",
        "network": str(vae.get("network", "hou2016")),
        "size": str(side),
        "x": images,
        "mu": f"float32 {latent}, the mean of the posterior",
        "logvar": f"float32 {latent}, the logarithm of its variance",
        "z": f"float32 {latent}, a latent: mu, or a draw from the prior",
        "images": images,
    } | {name: str(data[name]) for name in ("crop", "filter") if name in data}


def to_onnx(network: nn.Module, name: str, example: Tensor, outputs: Sequence[str], about: dict[str, str]) -> Any:
    """The ONNX model of an encoder or decoder, for any batch size, without any path of this machine.

    Raises:
        UserError: if PyTorch cannot export the network.
    """
    from onnx.helper import set_model_props

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of PyTorch about itself
            shapes = ({0: torch.export.Dim("N")},)
            program = torch.onnx.export(
                network.eval(),
                (example,),
                input_names=[name],
                output_names=outputs,
                dynamic_shapes=shapes,
                dynamo=True,
                verbose=False,
            )
            assert program is not None
    except Exception as error:  # whatever the network's code or PyTorch raises
        reason = next((line for line in str(error.__cause__ or error).splitlines() if line.strip()), "")
        raise UserError(
            f"PyTorch cannot export the network {about['network']} to ONNX, with any number of images: "
            f"{type(error.__cause__ or error).__name__}: {reason}"
        ) from error
    model = program.model_proto
    del model.graph.value_info[:]
    for part in (model.graph, *model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del part.metadata_props[:]  # lines of code with their files
        part.doc_string = ""
    set_model_props(model, about)
    return model


def compare(model: "ModelProto", network: nn.Module, inputs: Tensor, tolerance: float = TOLERANCE) -> dict[str, float]:
    """The largest difference of each output, computed by onnxruntime, from PyTorch's, for one input and for all.

    Raises:
        UserError: if one is larger than rounding explains.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in model.graph.output]
    differences = dict.fromkeys(names, 0.0)
    for batch in (inputs[:1], inputs):
        with torch.no_grad():
            expected = network(batch)
        expected = expected if isinstance(expected, tuple) else (expected,)
        found = session.run(names, {model.graph.input[0].name: batch.numpy()})
        for name, theirs, ours in zip(names, found, expected, strict=True):
            difference = float((torch.from_numpy(theirs) - ours).abs().max())
            if not difference <= tolerance * max(1.0, float(ours.abs().max())):
                raise UserError(
                    f"The ONNX file does not compute what PyTorch does: {name} differs by {difference:.3g}. The "
                    "network must not depend on random numbers, or branch on the values of its input."
                )
            differences[name] = max(differences[name], difference)
    return differences


def half_weights(model: "ModelProto") -> "ModelProto":
    """The model with matrices and filters in float16, which the graph casts back: half the size, float32 results."""
    from onnx import ModelProto, TensorProto, helper, numpy_helper

    half = ModelProto()
    half.CopyFrom(model)
    casts = []
    for tensor in half.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) > 1:
            stored = f"{tensor.name}.float16"
            casts.append(helper.make_node("Cast", [stored], [tensor.name], to=TensorProto.FLOAT))
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype("float16"), stored))
    nodes = [*casts, *half.graph.node]
    del half.graph.node[:]
    half.graph.node.extend(nodes)
    return half
