"""The data card of a run in MLflow: its counts as metrics, the card itself as a file."""

from collections.abc import Iterator
from typing import Any

from pipeline.retraining.registry import mlflow_client
from pipeline.settings import Settings

EXPERIMENT = "justlens-text-data"
CARD = "card.json"
# Of an address of a server, which knows where its files go.
SERVERS = ("http:", "https:", "databricks")


def log_card(card: dict[str, Any], settings: Settings) -> str:
    """Log a card as a run of MLflow's experiment ``justlens-text-data``; returns the run's id.

    What has been logged before is not logged again. Where MLflow's address is a database and not a
    server, files lie in ``mlartifacts`` of the data folder.
    """
    client = mlflow_client(settings.mlflow_url)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is not None:
        number = experiment.experiment_id
    else:
        is_server = settings.mlflow_url.startswith(SERVERS)
        folder = None if is_server else str(settings.data_dir / "mlartifacts")
        number = client.create_experiment(EXPERIMENT, artifact_location=folder)
    name = card["run"].replace("'", "")
    logged = f"attributes.run_name = '{name}' and attributes.status = 'FINISHED'"
    for known in client.search_runs([number], logged, max_results=1):
        return str(known.info.run_id)
    run_id: str = client.create_run(number, run_name=name).info.run_id
    for key in ("encoder", "seed", "from", "until"):
        client.log_param(run_id, key, card[key])
    for path, value in figures(card):
        client.log_metric(run_id, path, value)
    client.log_dict(run_id, card, CARD)
    client.set_terminated(run_id)
    return run_id


def figures(card: dict[str, Any], above: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of a card under their paths, such as ``parts/train/rows``."""
    for key, value in card.items():
        # MLflow's names have no commas.
        path = f"{above}{key.replace(',', '')}"
        if isinstance(value, dict):
            yield from figures(value, f"{path}/")
        elif isinstance(value, int | float) and path != "seed":
            yield path, value
