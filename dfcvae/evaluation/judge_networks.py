"""The networks behind judges: a torchvision classifier or an ONNX file, prepared images in, activations out."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import get_model

from dfcvae.errors import UserError, nearest
from dfcvae.weights import read_state_dict

MOST_CLASSES = 1_000_000

Device = torch.device | str
Seen = tuple[Tensor, dict[str, Tensor]]  # the embedding, and activations by layer


class TorchvisionNetwork:
    """A frozen classification network of torchvision.

    What is captured is the output of that very module: a copy, as later operations may work in place.

    Args:
        arch: its name in torchvision.
        weights: its state dict.
        layers: names of modules to capture.
        embedding: name of the module whose output is the embedding; None: what the classifying layer takes in.
        device: of the network.

    Raises:
        UserError: if the weights do not fit, or there is no such module.
    """

    def __init__(self, arch: str, weights: Path, layers: Sequence[str], embedding: str | None, device: Device):
        self.network, self.head = _loaded(arch, weights)
        self.network.to(device)
        modules = {name: module for name, module in self.network.named_modules() if name}
        for field, names in {"layers": layers, "embedding": [embedding] if embedding else []}.items():
            for name in names:
                if name not in modules:
                    raise UserError(f"{field}: {arch} has no module {name!r}{nearest(name, modules)}.")
        self.layers, self.embedding = list(layers), embedding
        self._seen: dict[str | None, list[Tensor]] = {}
        for name in {*layers, *([embedding] if embedding else [])}:
            modules[name].register_forward_hook(lambda _, __, output, name=name: self._keep(name, output))
        if embedding is None:
            modules[self.head].register_forward_pre_hook(lambda _, inputs: self._keep(None, inputs[0]))

    def __call__(self, x: Tensor) -> Seen:
        """Of prepared images (N, 3, S, S)."""
        self._seen = {}
        self.network(x)
        seen = {name: self._once(name) for name in [*self.layers, self.embedding]}
        self._seen = {}
        return seen[self.embedding], {name: seen[name] for name in self.layers}

    def described(self) -> str:
        """The embedding, in words."""
        return self.embedding or f"input of {self.head}"

    def _keep(self, name: str | None, output: Tensor) -> None:
        self._seen.setdefault(name, []).append(output.detach().clone())

    def _once(self, name: str | None) -> Tensor:
        outputs = self._seen.get(name, [])
        if len(outputs) != 1 or not isinstance(outputs[0], Tensor):
            raise UserError(f"layers: {name or self.head!r} runs {len(outputs)} times in a pass; name another module.")
        return outputs[0]


def _loaded(arch: str, weights: Path) -> tuple[nn.Module, str]:
    """The network with its weights, in eval mode, and the name of the layer that classifies."""
    state = {key.removeprefix("module."): value for key, value in read_state_dict(weights).items()}
    # random initial weights must not change the numbers that others draw
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of initial weights, which are replaced
        network = get_model(arch, weights=None)
        linear = [name for name, module in network.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))]
        head, ours = linear[-1], network.state_dict()[f"{linear[-1]}.weight"]
        theirs = state.get(f"{head}.weight", ours)
        if theirs.shape[1:] == ours.shape[1:] and len(ours) != len(theirs) <= MOST_CLASSES:
            network = get_model(arch, weights=None, num_classes=len(theirs))
    try:
        network.load_state_dict(
            {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
        )
    except (RuntimeError, ValueError) as error:
        lines = [line.strip() for line in str(error).splitlines()]
        raise UserError(f"weights: {weights} does not hold {arch}: {lines[min(1, len(lines) - 1)]}") from error
    return network.eval().requires_grad_(False), head


class OnnxNetwork:
    """A network in an ONNX file, run by onnxruntime.

    Args:
        file: the ONNX file.
        layers: names of outputs to compare.
        embedding: name of the output that is the embedding; None: the first.
        device: of the images; the network runs on a CUDA device only where onnxruntime supports it.

    Raises:
        UserError: if onnxruntime is not installed, or the file is not a network of one image input.
    """

    def __init__(self, file: Path, layers: Sequence[str], embedding: str | None, device: Device):
        self.file = file
        self.session = _session(file, torch.device(device).type == "cuda")
        inputs, outputs = self.session.get_inputs(), [output.name for output in self.session.get_outputs()]
        if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 4:
            found = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs) or "none"
            raise UserError(f"onnx: expected one float32 input of N x 3 x H x W, got {found}.")
        for field, names in {"layers": layers, "embedding": [embedding] if embedding else []}.items():
            for name in names:
                if name not in outputs:
                    raise UserError(f"{field}: {file.name} has no output {name!r}; its outputs: {', '.join(outputs)}.")
        self.input, self.layers, self.embedding = inputs[0].name, list(layers), embedding or outputs[0]
        fixed = inputs[0].shape[0]
        self.fixed = fixed if isinstance(fixed, int) and fixed > 0 else None  # images at a time, where the file says so

    def __call__(self, x: Tensor) -> Seen:
        """Of prepared images (N, 3, S, S)."""
        names = list(dict.fromkeys([self.embedding, *self.layers]))
        parts = [self._run(part, names) for part in x.split(self.fixed or len(x))]
        seen = {name: torch.cat(rows).to(x.device) for name, rows in zip(names, zip(*parts, strict=True), strict=True)}
        return seen[self.embedding], {name: seen[name] for name in self.layers}

    def described(self) -> str:
        """The embedding, in words."""
        return f"output {self.embedding}"

    def _run(self, part: Tensor, names: Sequence[str]) -> list[Tensor]:
        count = len(part)
        if self.fixed and count < self.fixed:  # fill up the last one
            part = torch.cat([part, part[-1:].expand(self.fixed - count, -1, -1, -1)])
        try:
            outputs = self.session.run(names, {self.input: part.cpu().contiguous().numpy()})
        except Exception as error:  # onnxruntime has many kinds
            raise UserError(f"onnx: {self.file} does not take images of {_by(part)}: {_line(error)}") from error
        for name, output in zip(names, outputs, strict=True):
            if len(output) != len(part):
                raise UserError(f"onnx: output {name!r} has {len(output)} rows for {len(part)} images.")
        return [torch.from_numpy(output)[:count].float() for output in outputs]


def _session(file: Path, cuda: bool) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError('onnx: onnxruntime is not installed; run pip install -e ".[onnx]".') from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors only
    wanted = ["CUDAExecutionProvider"] * cuda + ["CPUExecutionProvider"]
    providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=providers)
    except Exception as error:
        raise UserError(f"onnx: onnxruntime cannot load {file}: {_line(error)}") from error


def _by(images: Tensor) -> str:
    return " x ".join(map(str, images.shape))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
