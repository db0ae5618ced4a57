"""From a data set to the report."""

import json
from pathlib import Path

from dfcvae.data import filled, load_faces
from dfcvae.paper.report import paper_report
from dfcvae.paper.work import PaperSettings, do_work
from dfcvae.reports.write import write_report


def run_paper(settings: PaperSettings, out: str | Path, *, progress: bool = True) -> Path:
    """Train, measure and show the models of the paper: ``report.html``, ``report.md``, ``figures/``, ``metrics.json``.

    Everything is kept in ``out``: networks, ``runs/NAME-SEED``, ``measured/``, ``probed/``. Stopped and started again
    with the same settings, it goes on where it was. More seeds can be added later.

    Args:
        settings: what to do.
        out: the folder.
        progress: say what is going on.

    Returns:
        The path of the HTML report.

    Raises:
        UserError: if the data, the weights or what is in ``out`` do not fit the settings.
    """
    out = Path(out).resolve()  # runs remember where their feature network lies
    splits = load_faces(settings.data, progress=progress)
    for split in ("train", "test"):
        filled(splits, split)
    out.mkdir(parents=True, exist_ok=True)
    work = do_work(settings, splits, out, progress)
    numbers = {
        model.folder.name: found.as_json()
        for name, models in work.models.items()
        for model, found in zip(models, work.evaluated[name], strict=True)
    }
    (out / "metrics.json").write_text(json.dumps(numbers, indent=2) + "\n")
    return write_report("Plain and deep feature consistent VAEs", paper_report(settings, work, splits), out)
