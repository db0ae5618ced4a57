"""Commands that report on several models."""

from typing import Any

from dfcvae.ablate import ablate
from dfcvae.config import DataConfig
from dfcvae.executor import Place
from dfcvae.paper import paper_report, paper_study
from dfcvae.report.comparison import compare as compare_models


def compare(arguments: Any) -> None:
    """Write a report on several models side by side."""
    arguments.out.mkdir(parents=True, exist_ok=True)  # wrong paths are reported before hours of work
    report = compare_models(
        arguments.models,
        arguments.out,
        source=arguments.source,
        judge=arguments.judge,
        fid=arguments.fid,
        lpips=arguments.lpips,
        seed=arguments.seed,
    )
    print(f"Report: {report}")


def paper(arguments: Any) -> None:
    """Train the models of the paper and write its results section."""
    data = DataConfig(arguments.source, arguments.size, train_images=arguments.train_images)
    study = paper_study(data, arguments.epochs, arguments.seeds, arguments.features)
    place = Place(arguments.out, tuple(arguments.judge) or None, arguments.fid, arguments.lpips)
    print(f"Report: {ablate(study, place, report=paper_report)}")
