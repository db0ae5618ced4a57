"""Images as tensors: conversions, grids, pictures and animations."""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from dfcvae.errors import UserError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


LOWEST, HIGHEST = -0.1, 1.1  # bicubic resizing overshoots a little


def check_range(images: Tensor, what: str = "images") -> None:
    """Raise a UserError for images as float that are not in [0, 1]. On a GPU this waits for them."""
    low, high = map(float, images.detach().aminmax()) if images.numel() else (0, 1)
    if low < LOWEST or high > HIGHEST:
        raise UserError(
            f"Expected {what} in [0, 1], got {low:.3g} to {high:.3g}; convert them: (x + 1) / 2 from [-1, 1], x / 255 "
            "from 0 to 255. ImageNet's mean and deviation are applied where they are needed, not before."
        )


def to_float(images: Tensor) -> Tensor:
    """uint8 in 0..255 to float32 in [0, 1] of the same shape."""
    return images.float() / 255


def to_uint8(images: Tensor) -> Tensor:
    """Float in [0, 1] to uint8 in 0..255, rounded to the nearest level; values outside the range are clipped."""
    return (images.float() * 255).round().clamp(0, 255).to(torch.uint8)


def to_rgb(images: Tensor) -> Tensor:
    """(N, 1 or 3, H, W) to (N, 3, H, W): grey images are repeated over the three channels."""
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


def normalize_imagenet(images: Tensor) -> Tensor:
    """RGB in [0, 1] to the zero-mean, unit-variance channels that torchvision's ImageNet networks were trained on."""
    mean = images.new_tensor(IMAGENET_MEAN).view(1, 3, 1, 1)
    std = images.new_tensor(IMAGENET_STD).view(1, 3, 1, 1)
    return (images - mean) / std


def translate(images: Tensor, down: int, right: int) -> Tensor:
    """Images (N, C, H, W) shifted by integer numbers of pixels, of the same shape; gaps repeat the edge."""
    height, width = images.shape[-2:]
    reach = max(abs(down), abs(right))
    if reach == 0:
        return images
    wide = functional.pad(images, (reach,) * 4, mode="replicate")
    return wide[..., reach - down : reach - down + height, reach - right : reach - right + width]


def grid(images: Tensor, columns: int = 8, pad: int = 2) -> Tensor:
    """Tile images (N, C, H, W) in [0, 1] into one RGB picture (3, H', W') on white, ``columns`` to a row."""
    images = to_rgb(images).float().cpu()
    if len(images) == 1:
        return images[0]
    columns = min(columns, len(images))
    blank = images.new_ones(-len(images) % columns, *images.shape[1:])
    tiles = functional.pad(torch.cat([images, blank]), (pad, 0, pad, 0), value=1.0)
    picture = tiles.unflatten(0, (-1, columns)).permute(2, 0, 3, 1, 4)  # (3, rows, H + pad, columns, W + pad)
    return functional.pad(picture.flatten(3, 4).flatten(1, 2), (0, pad, 0, pad), value=1.0)


def rows(*batches: Tensor) -> Tensor:
    """Tile batches of equal length below each other: column i shows image i of every batch."""
    return grid(torch.cat([to_rgb(batch).float().cpu() for batch in batches]), columns=len(batches[0]))


def to_image(picture: Tensor, times: int = 1) -> Image.Image:
    """One picture (3 or 1, H, W) in [0, 1] as a Pillow image, enlarged ``times`` times."""
    image = Image.fromarray(to_uint8(to_rgb(picture[None])[0]).permute(1, 2, 0).cpu().numpy())
    return _enlarged(image, times)


def _enlarged(image: Image.Image, times: int) -> Image.Image:
    return image.resize((image.width * times, image.height * times), Image.Resampling.BICUBIC)


def save_png(picture: Tensor | Image.Image, path: str | Path) -> Path:
    """Write one picture, a Pillow image or (3 or 1, H, W) in [0, 1], as PNG, creating its folder; returns the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    image = to_image(picture) if isinstance(picture, Tensor) else picture
    image.save(path, "PNG")
    return path


SUFFIXES = (".gif", ".mp4")
WIDTH = 192  # pixels; narrower frames are enlarged, as players do it badly


def is_animation(path: Path) -> bool:
    """Whether a file name has the suffix of an animation."""
    return path.suffix.lower() in SUFFIXES


def save_animation(frames: Tensor | Sequence[Image.Image], path: str | Path, seconds: float = 0.06) -> Path:
    """Write frames as a GIF that loops, or as an MP4 (H.264), creating its folder.

    Args:
        frames: (N, C, H, W) in [0, 1], or Pillow images of equal size; small ones are enlarged to about 192 pixels.
        path: a .gif or .mp4 file.
        seconds: duration of a frame.

    Raises:
        UserError: for another suffix, or if PyAV is needed and missing.
    """
    path = Path(path)
    if not is_animation(path):
        raise UserError(f"{path.name}: expected the name of a .gif or .mp4 file for an animation.")
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = [to_image(frame) if isinstance(frame, Tensor) else frame for frame in frames]
    pictures = [_enlarged(picture, max(1, WIDTH // picture.width)) for picture in pictures]
    if path.suffix.lower() == ".gif":
        duration = round(1000 * seconds)
        pictures[0].save(path, "GIF", save_all=True, append_images=pictures[1:], duration=duration, loop=0)
    else:
        _write_mp4(pictures, path, seconds)
    return path


def _write_mp4(pictures: Sequence[Image.Image], path: Path, seconds: float) -> None:
    try:
        import av
    except ImportError as error:
        raise UserError('MP4 needs PyAV: pip install -e ".[video]", or write a .gif.') from error
    width, height = (side // 2 * 2 for side in pictures[0].size)  # H.264 stores colour for every second pixel
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=round(1 / seconds), options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_image(picture.crop((0, 0, width, height)))))
        container.mux(stream.encode())
