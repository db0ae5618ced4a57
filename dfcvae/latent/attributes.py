"""Directions of the latent space along which an attribute of the face changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from dfcvae.errors import UserError, nearest
from dfcvae.latent.stored import corrupted, read_stored, write_stored

FEWEST = 10  # faces with and without an attribute, below which a mean of a hundred dimensions is mostly noise
KIND = "attribute vectors"
Method = Literal["means", "classifier"]
TELLING = ("Smiling", "Male", "Young", "Eyeglasses", "Blond_Hair", "Bangs", "Heavy_Makeup", "Wearing_Hat")
GROUPS = {  # words that tell an attribute's group, the first that fits
    "Beard": ("Beard", "Goatee", "Mustache", "Sideburns", "Shadow"),
    "Worn": ("Wearing", "Eyeglasses", "Makeup"),
    "Eyes, nose and mouth": ("Eyes", "Eyebrows", "Nose", "Mouth", "Lips", "Smiling"),
    "Hair": ("Hair", "Bald", "Bangs"),
}
HOW = {"means": "differences of class means", "classifier": "normals of linear classifiers"}


def attribute_vector(mu: Tensor, has: Tensor, method: Method = "means") -> Tensor:
    """The step (D,) from faces without an attribute to faces with it.

    ``"means"``: the difference d of the class means (Hou et al. 2016, arXiv 1610.00291, section 4.3; Larsen et al.
    2016, arXiv 1512.09300). ``"classifier"``: along the unit normal n of the hyperplane by which a logistic regression
    separates the classes, ``n (n . d)``. Either way a step of 1 covers the distance between the class means along it.

    The difference holds all that correlates with the attribute in these faces. A normal points where the classes are
    separated best, given all latents: a shorter step, with less effect and fewer side effects.
    Of posterior means ``mu`` (N, D) and which faces have the attribute, bool (N,); a ValueError if all or none have it.
    """
    if not 0 < int(has.sum()) < len(has):
        raise ValueError(f"Expected faces with and without the attribute; {int(has.sum())} of {len(has)} have it.")
    difference = mu[has].mean(dim=0) - mu[~has].mean(dim=0)
    if method == "means":
        return difference
    from sklearn.linear_model import LogisticRegression

    spread = mu.std(dim=0).clamp_min(1e-6)  # the penalty of the regression is fair between latents of equal scale
    classifier = LogisticRegression(max_iter=1000, class_weight="balanced")
    classifier.fit((mu / spread).double().numpy(), has.numpy())
    normal = torch.as_tensor(classifier.coef_[0]).to(mu) / spread
    return normal * (normal @ difference) / normal.square().sum()


def project_out(vector: Tensor, others: Tensor) -> Tensor:
    """The part of a vector (D,) orthogonal to all others (K, D), which may be linearly dependent."""
    basis = others.double()
    return vector - (torch.linalg.pinv(basis, rtol=1e-6) @ (basis @ vector.double())).to(vector)


def balanced_rows(has: Tensor, others: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Sorted rows of as many faces with an attribute as without, for every combination of other attributes.

    In CelebA most faces with glasses are men: the difference of the means of all is in part a change of sex. Drawn in
    this way, without replacement, the two classes differ in nothing but the attribute ``has``, bool (N,), as far as
    ``others``, bool (N, K), go. There are none if no combination has faces of both kinds.
    """
    kinds = (others.long() << torch.arange(others.shape[1])).sum(dim=1)
    order = torch.randperm(len(has), generator=generator)
    chosen = []
    for kind in kinds.unique():
        with_it, without = (order[((kinds == kind) & (has == value))[order]] for value in (True, False))
        count = min(len(with_it), len(without))
        chosen += [with_it[:count], without[:count]]
    return torch.cat(chosen).sort().values


def label_correlation(attributes: Tensor) -> Tensor:
    """Correlation (A, A) between the attributes (N, A) of faces: the phi coefficient; NaN for one that never varies."""
    count = attributes.shape[1]
    return torch.corrcoef(attributes.double().T).reshape(count, count).float()


@dataclass(frozen=True)
class AttributeVectors:
    """A step in latent space for every attribute: 1 takes faces without it to faces with it."""

    names: tuple[str, ...]  # the A attributes
    vectors: Tensor  # (A, D)
    how: str = ""  # in words, how they were fitted

    @classmethod
    def fit(
        cls,
        mu: Tensor,
        attributes: Tensor,
        names: Sequence[str],
        *,
        method: Method = "means",
        balance: Sequence[str] = (),
    ) -> "AttributeVectors":
        """The vectors of all attributes with at least 10 faces of both kinds; others are skipped.

        Of posterior means ``mu`` (N, D) and ``attributes``, bool (N, A), with their ``names``; see `attribute_vector`
        for ``method``. Attributes named in ``balance`` are balanced by `balanced_rows`. A UserError if there is no such
        attribute to balance, or no attribute has enough faces of both kinds.
        """
        generator = torch.Generator().manual_seed(0)
        columns = [index_of(names, name) for name in balance]
        found: dict[str, Tensor] = {}
        for i, name in enumerate(names):
            has = attributes[:, i]
            others = attributes[:, [c for c in columns if c != i]]
            rows = balanced_rows(has, others, generator) if others.shape[1] else torch.arange(len(has))
            if min(int(has[rows].sum()), int((~has[rows]).sum())) >= FEWEST:
                found[name] = attribute_vector(mu[rows], has[rows], method)
        if not found:
            raise UserError(
                f"Attribute vectors need at least {FEWEST} faces with and {FEWEST} without an attribute; none of the "
                f"{len(names)} attributes of these {len(mu)} faces has that many. Use a larger data set."
            )
        how = HOW[method] + (f", balanced by {' and '.join(balance)}" if balance else "")
        return cls(tuple(found), torch.stack(list(found.values())), how)

    def __getitem__(self, name: str) -> Tensor:
        """The vector (D,) of an attribute; a UserError if there is none."""
        return self.vectors[index_of(self.names, name)]

    def step(self, strengths: Mapping[str, float], keep: Sequence[str] = ()) -> Tensor:
        """The sum (D,) of the vectors times their strengths, orthogonal to the vectors of ``keep``."""
        total = torch.stack([strength * self[name] for name, strength in strengths.items()]).sum(dim=0)
        return project_out(total, torch.stack([self[name] for name in keep])) if keep else total

    def edit(self, z: Tensor, strengths: Mapping[str, float], keep: Sequence[str] = ()) -> Tensor:
        """Latents (N, D) moved by several attributes at once: ``{"Smiling": 1.5, "Eyeglasses": -1}``.

        A strength of 1 is the distance between faces without and with the attribute; negative removes it. The vectors
        of the attributes ``keep`` are projected out of the step, so that it changes them less. A UserError if there is
        no such attribute.
        """
        return z + self.step(strengths, keep).to(z)

    def correlation(self) -> Tensor:
        """Cosine similarity (A, A) of the vectors: what else changes along one of them."""
        unit = normalize(self.vectors, dim=1)
        return unit @ unit.T

    def save(self, path: str | Path, model: str, source: str, dtype: torch.dtype = torch.float32) -> Path:
        """Write safetensors with the model (`dfcvae.vae.digest`) and the faces to which they belong."""
        about = {"names": self.names, "how": self.how}
        return write_stored(path, {"vectors": self.vectors.to(dtype)}, KIND, model, source, about)

    @classmethod
    def load(cls, path: str | Path, model: str) -> "AttributeVectors":
        """The vectors in a file, whatever faces they were fitted to; a UserError if another model's or corrupted."""
        tensors, about = read_stored(path, KIND, model)
        names, vectors = about.get("names"), tensors.get("vectors")
        if not isinstance(names, list) or vectors is None or vectors.dim() != 2 or len(vectors) != len(names):
            raise corrupted(path, KIND, "names and vectors do not belong together")
        return cls(tuple(map(str, names)), vectors.float(), str(about.get("how")))


def index_of(names: Sequence[str], name: str) -> int:
    """The place of an attribute; a UserError if there is none."""
    if name not in names:
        raise UserError(f"There is no attribute {name!r}{nearest(name, names)}; there are {', '.join(names)}.")
    return list(names).index(name)


def grouped(names: Sequence[str]) -> dict[str, list[str]]:
    """Attributes by group: the eight most telling first, the others by what they are about."""
    first = [name for name in TELLING if name in names]
    first += [name for name in names if name not in first][: len(TELLING) - len(first)]
    groups: dict[str, list[str]] = {"Most telling": first} | {title: [] for title in (*GROUPS, "Face")}
    for name in names:
        if name not in first:
            fits = (title for title, words in GROUPS.items() if any(word in name for word in words))
            groups[next(fits, "Face")].append(name)
    return {title: group for title, group in groups.items() if group}
