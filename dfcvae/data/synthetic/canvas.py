"""The canvas faces are painted on, and the few shapes and soft edges everything is made of.

Only correctly rounded arithmetic (+ - * / sqrt, comparisons, integers) touches pixels. Exponentials and
sines differ in the last bit between vectorised and scalar code, which would make a face depend on its place
in a batch.
"""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from dfcvae.data.synthetic.people import People

Window = tuple[float, float, float, float]  # left, right, top and bottom on the screen, in [-1, 1]
WHOLE: Window = -1, 1, -1, 1


class Canvas(NamedTuple):
    """A picture in progress, or a view of a part of it.

    `u` runs right and `v` down in units of half an image, with the origin between the eyes.
    """

    rgb: Tensor  # (3, N, h, w) in [0, 1], painted in place
    u: Tensor  # (N, h, w)
    v: Tensor  # (N, h, w)
    grain: Tensor  # (N, h, w) fine noise in [-1, 1]
    pixel: float  # width of one pixel in the units of u and v

    def paint(self, cover: Tensor, color: Tensor | float) -> None:
        """Lay `color`, broadcast to (3, N, h, w), over the picture where `cover` (N, h, w) is 1."""
        self.rgb.add_((color - self.rgb).mul_(cover))

    def shade(self, factor: Tensor) -> None:
        """Multiply the picture's brightness by `factor` (N, h, w)."""
        self.rgb.mul_(factor)

    def edge(self, distance: Tensor) -> Tensor:
        """Antialiased cover from a signed distance: 1 inside (negative), 0 outside, a ramp one pixel wide."""
        return (distance * (-1 / self.pixel)).add_(0.5).clamp_(0, 1)

    def line(self, distance: Tensor, half_width: Tensor | float) -> Tensor:
        """Antialiased cover of the strip within `half_width` of a curve; thinner than a pixel is fainter."""
        return self.edge(distance.abs() - half_width)

    def lay(self, painter: "Painter", people: People, window: Window = WHOLE, of: Tensor | None = None) -> None:
        """Call a painter for a part of the picture, and for the faces `of`, bool (N, 1, 1): most wear no hat."""
        if of is not None and not of.any():
            return
        size = self.rgb.shape[-1]
        left, right, top, bottom = (max(0, min(size, round((edge + 1) * 0.5 * size))) for edge in window)
        rows, cols = slice(top, bottom), slice(left, right)
        chosen = slice(None) if of is None else of.view(-1).nonzero().view(-1)
        rgb = self.rgb[:, :, rows, cols]
        u, v, grain = (field[chosen, rows, cols].contiguous() for field in (self.u, self.v, self.grain))
        part = Canvas(rgb[:, chosen], u, v, grain, self.pixel)
        painter(part, u, v, people if of is None else people.of(chosen))
        rgb[:, chosen] = part.rgb


Painter = Callable[[Canvas, Tensor, Tensor, People], None]


def wave(turns: Tensor) -> Tensor:
    """A sine made of parabolas: period 1, range [-1, 1]."""
    s = (turns - turns.floor()).mul_(2).sub_(1)
    return (1 - s.abs()).mul_(s).mul_(-4)


def ellipse(x: Tensor, y: Tensor, a: Tensor | float, b: Tensor | float) -> Tensor:
    """Squared elliptic radius: below 1 inside, 1 on the edge, above 1 outside."""
    x, y = x * (1 / a), y * (1 / b)
    return x.mul_(x).add_(y.mul_(y))


def bump(x: Tensor, y: Tensor, a: Tensor | float, b: Tensor | float) -> Tensor:
    """A soft spot: 1 at the centre, 0 from the ellipse's edge outwards."""
    t = (1 - ellipse(x, y, a, b)).clamp_(min=0)
    return t.mul_(t)


def arch(u: Tensor, v: Tensor, spring: Tensor, width: Tensor, height: Tensor | float) -> Tensor:
    """Approximate signed distance to an arch: half an ellipse above `spring`, straight walls below."""
    rise = (spring - v).clamp_(min=0).mul_(1 / height)
    x = u * (1 / width)
    return x.mul_(x).add_(rise.mul_(rise)).sub_(1).mul_(width * 0.5)


def scatter(x: Tensor, y: Tensor, cells: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One spot in every unit square: offsets from its centre, and its random tone in [0, 1).

    `cells` (3, N, K, K), K a power of two, hold where each spot sits and its tone; they repeat.
    """
    side = cells.shape[-1]
    column, row = x.floor(), y.floor()
    index = row.long().bitwise_and_(side - 1).mul_(side).add_(column.long().bitwise_and_(side - 1)).flatten(1)
    right, down, tone = (cells[k].flatten(1).gather(1, index).view_as(x) for k in range(3))
    return x - column - 0.3 - 0.4 * right, y - row - 0.3 - 0.4 * down, tone
