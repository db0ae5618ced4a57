"""A report as one HTML file with its pictures inside."""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from io import BytesIO

from torch import Tensor

from dfcvae.images import to_image

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
h1, h2 { line-height: 1.2; font-weight: 600 } h2 { margin-top: 2.5rem }
figure { margin: 1rem 0 } figcaption { color: #555; font-size: .9rem }
img { width: 100%; border-radius: 4px; image-rendering: auto }
table { border-collapse: collapse; margin: 1rem 0 } th, td { padding: .25rem .8rem; border-bottom: 1px solid #ddd }
th { text-align: left; font-weight: 600 } td { text-align: right; font-variant-numeric: tabular-nums }
td:first-child { text-align: left } pre { background: #f6f6f6; padding: 1rem; overflow-x: auto; font-size: .85rem }
"""
WIDTH = 1060  # pixels; narrower pictures are enlarged so that small faces are seen on today's screens


def page(title: str, *parts: str) -> str:
    """A complete document from parts made by the functions below."""
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    body = f"<h1>{escape(title)}</h1>" + "\n".join(parts)
    return f'<!doctype html><html lang="en"><head>{head}<style>{STYLE}</style></head><body>{body}</body></html>\n'


def heading(text: str) -> str:
    """A section heading."""
    return f"<h2>{escape(text)}</h2>"


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{escape(text)}</p>"


def preformatted(text: str) -> str:
    """Text as it stands, in a fixed-width font."""
    return f"<pre>{escape(text)}</pre>"


def figure(picture: Tensor, caption: str) -> str:
    """A picture (3, H, W) in [0, 1], embedded as PNG, enlarged to fill the page, with its caption."""
    image = to_image(picture, times=max(1, WIDTH // picture.shape[-1]))
    buffer = BytesIO()
    image.save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    style = f"max-width:{image.width}px"
    return (
        f'<figure><img style="{style}" alt="{escape(caption)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def table(header: Sequence[str], rows: Iterable[Sequence[str | float]]) -> str:
    """A table; numbers with four significant digits."""

    def cell(value: str | float) -> str:
        return f"<td>{escape(value) if isinstance(value, str) else f'{value:.4g}'}</td>"

    top = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"
