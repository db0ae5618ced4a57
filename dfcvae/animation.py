"""Animations: GIF with Pillow, MP4 with PyAV."""

from pathlib import Path

import torch
from torch import Tensor

from dfcvae.errors import UserError
from dfcvae.images import to_image, to_rgb, to_uint8

SUFFIXES = (".gif", ".mp4")
WIDTH = 192  # pixels; narrower frames are enlarged, which players do badly


def is_animation(path: Path) -> bool:
    """Whether a file name is that of an animation."""
    return path.suffix.lower() in SUFFIXES


def save_animation(frames: Tensor, path: str | Path, seconds: float = 0.06) -> Path:
    """Write frames (N, C, H, W) in [0, 1] as a GIF that loops, or as an MP4 (H.264), creating its folder.

    Args:
        frames: small ones are enlarged to about 192 pixels.
        path: ends in .gif or .mp4.
        seconds: per frame.

    Raises:
        UserError: if the name ends otherwise, or PyAV is needed and missing.
    """
    path = Path(path)
    if not is_animation(path):
        raise UserError(f"{path.name}: expected the name of a .gif or .mp4 file for an animation.")
    path.parent.mkdir(parents=True, exist_ok=True)
    times = max(1, WIDTH // frames.shape[-1])
    if path.suffix.lower() == ".gif":
        first, *rest = (to_image(frame, times) for frame in frames)
        first.save(path, "GIF", save_all=True, append_images=rest, duration=round(1000 * seconds), loop=0)
    else:
        _write_mp4(frames.repeat_interleave(times, 2).repeat_interleave(times, 3), path, seconds)
    return path


def _write_mp4(frames: Tensor, path: Path, seconds: float) -> None:
    try:
        import av
    except ImportError as error:
        raise UserError('MP4 needs PyAV: pip install -e ".[video]", or write a .gif.') from error
    height, width = (side // 2 * 2 for side in frames.shape[-2:])  # H.264 stores colour for every second pixel
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=round(1 / seconds), options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in to_uint8(to_rgb(frames))[:, :, :height, :width].permute(0, 2, 3, 1).cpu().numpy():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def there_and_back(frames: Tensor) -> Tensor:
    """Frames (N, ...) forwards, then backwards without repeating the ends: an animation that loops smoothly."""
    return torch.cat([frames, frames.flip(0)[1:-1]])
