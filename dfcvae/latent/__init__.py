"""The latent space, for any `encode` and `decode` callables: nothing here knows a network."""

from dfcvae.latent.attributes import AttributeVectors, attribute_vector, balanced_rows, label_correlation, project_out
from dfcvae.latent.interpolation import by_kl, encode_images, face_grid, interpolate, path, slerp, traverse
from dfcvae.latent.maps import image_map, nearest_neighbours, principal_components, tsne
from dfcvae.latent.priors import Prior, fit_gaussian, fit_mixture

__all__ = [
    "AttributeVectors",
    "Prior",
    "attribute_vector",
    "balanced_rows",
    "by_kl",
    "encode_images",
    "face_grid",
    "fit_gaussian",
    "fit_mixture",
    "image_map",
    "interpolate",
    "label_correlation",
    "nearest_neighbours",
    "path",
    "principal_components",
    "project_out",
    "slerp",
    "traverse",
    "tsne",
]
