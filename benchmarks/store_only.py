"""`python -m benchmarks.store_only run ingest`: the ingest worker without detection, to measure what it costs."""

from fleet_core import cli
from fleet_core.settings import Settings
from ingest import pipeline
from ingest.pipeline import Stage
from ingest.store import Store


def stages(settings: Settings) -> list[Stage]:
    """The first stage alone."""
    return [Store(settings)]


if __name__ == "__main__":
    pipeline.stages = stages
    cli.main()
