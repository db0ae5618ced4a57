import pytest
import torch
from PIL import Image

from dfcvae.errors import UserError
from dfcvae.images import save_animation


def frames(n=5):
    return torch.stack([torch.full((3, 33, 31), i / n) for i in range(n)])


def test_an_mp4_holds_the_frames(tmp_path):
    av = pytest.importorskip("av", reason="PyAV writes MP4: pip install dfcvae[video]")
    file = save_animation(frames(), tmp_path / "new" / "x.mp4", seconds=0.1)
    with av.open(str(file)) as container:
        [stream] = container.streams.video
        assert float(stream.average_rate) == 10
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(decoded) == 5
    assert decoded[0].shape == (198, 186, 3)  # six times 33 and 31
    for i, picture in enumerate(decoded):
        assert abs(float(picture.mean()) - 255 * i / 5) < 4


def test_a_gif_holds_the_frames(tmp_path):
    with Image.open(save_animation(frames(), tmp_path / "x.gif", seconds=0.1)) as moving:
        assert moving.n_frames == 5
        assert moving.info["duration"] == 100
        assert moving.info["loop"] == 0
        moving.seek(3)
        assert moving.convert("RGB").getpixel((9, 9)) == (153, 153, 153)


def test_other_names_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UserError, match=r"x\.avi: expected the name of a \.gif or \.mp4 file"):
        save_animation(frames(), tmp_path / "x.avi")


def test_without_pyav_the_way_out_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(UserError, match=r'MP4 needs PyAV: pip install -e "\.\[video\]", or write a \.gif'):
        save_animation(frames(), tmp_path / "x.mp4")
