import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from dfcvae.latent import image_map, nearest_neighbours, principal_components, tsne


def test_neighbours_are_scikit_learns_and_a_copy_is_at_distance_0():
    references, queries = torch.randn(300, 20) + 100, torch.randn(5, 20) + 100
    queries[2] = references[7]
    distances, indices = nearest_neighbours(queries, references, 4)
    expected = NearestNeighbors(n_neighbors=4, algorithm="brute").fit(references.double()).kneighbors(queries.double())
    torch.testing.assert_close(distances.double(), torch.as_tensor(expected[0]), rtol=1e-4, atol=1e-4)
    assert torch.equal(indices, torch.as_tensor(expected[1]))
    assert (distances[2, 0], indices[2, 0]) == (0, 7)
    with pytest.raises(ValueError, match="Expected 1 to 300 neighbours"):
        nearest_neighbours(queries, references, 301)


def test_principal_components_are_those_of_the_singular_values():
    mu = torch.randn(200, 6) * torch.tensor([1.0, 5.0, 1.0, 0.5, 3.0, 1.0])
    left, values, _ = torch.linalg.svd(mu - mu.mean(dim=0), full_matrices=False)
    expected = left[:, :2] * values[:2]
    points = principal_components(mu)
    torch.testing.assert_close(points.abs(), expected.abs(), rtol=1e-3, atol=1e-3)  # signs are free


def test_tsne_keeps_groups_together():
    mu = torch.randn(90, 10) + 12 * torch.nn.functional.one_hot(torch.arange(90) % 3, 10)
    points = tsne(mu, seed=1)
    centres = torch.stack([points[k::3].mean(dim=0) for k in range(3)])
    assert torch.equal(torch.cdist(points, centres).argmin(dim=1), torch.arange(90) % 3)
    assert torch.equal(tsne(mu[:20], seed=1), tsne(mu[:20], seed=1))


def test_an_image_map_puts_images_where_their_points_are():
    points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.2, 0.2]])
    colours = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]])
    picture = image_map(points, colours[:, :, None, None].expand(4, 3, 6, 6), cells=2, side=4)
    assert picture.shape == (3, 8, 8)
    middle = [(6, 1), (6, 6), (1, 1)]  # bottom left, bottom right, top left: the second coordinate points upwards
    assert [picture[:, y, x].tolist() for y, x in middle] == [[0, 0, 0], [0, 1, 0], [0, 0, 1]]  # (0.2, 0.2) is nearer
    assert (picture[:, :4, 4:] == 1).all()  # nobody is there
