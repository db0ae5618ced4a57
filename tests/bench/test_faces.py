"""The faces of the benchmark: the same as files and as rows."""

import torch
from PIL import Image

from dfcvae.bench.faces import JPEGFaces, decoded_faces, row_batches


def test_files_are_jpegs_of_celebas_size(folder):
    files = sorted(folder.iterdir())
    assert [file.name for file in files] == [f"{i:06d}.jpg" for i in range(4)]
    with Image.open(files[3]) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (178, 218))


def test_an_item_is_the_image_or_its_mirror_image_by_its_number(folder):
    faces = JPEGFaces(folder, 32)
    everything = faces.all_images()
    assert everything.shape == (8, 3, 32, 32)
    assert torch.equal(everything[7], everything[6].flip(-1))
    seen = set()
    for _ in range(20):
        image, number = faces[2]
        assert torch.equal(image, everything[number])
        seen.add(number)
    assert seen == {4, 5}


def test_rows_are_the_same_images_rounded(folder):
    rows = decoded_faces(folder, 32)
    assert rows.dtype == torch.uint8
    torch.testing.assert_close(rows / 255, JPEGFaces(folder, 32).all_images()[::2], rtol=0, atol=1e-6)


def test_a_batch_tells_which_images_it_holds(folder):
    rows, everything = decoded_faces(folder, 32), JPEGFaces(folder, 32).all_images()
    batches = row_batches(rows, 3)
    for _ in range(6):  # over the end of an epoch
        images, which = next(batches)
        torch.testing.assert_close(images / 255, everything[which], rtol=0, atol=1e-6)
