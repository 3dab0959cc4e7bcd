"""``justlens flower``: Celery's dashboard, behind a password."""

import os
import re

from flower.views.monitor import Metrics
from tornado.web import authenticated

from pipeline.errors import ConfigurationError
from pipeline.settings import Settings, settings

# Flower takes several passwords, with commas between them.
AUTH = re.compile(r"[^:,\s]+:[^,\s]+")
# With the arguments, a row says which image it is about.
COLUMNS = "name,uuid,args,state,received,started,runtime,worker"


def flower(*, auth: str = "", host: str = "", port: int | None = None) -> None:
    """Run Flower in this process until it is told to stop (Ctrl-C or SIGTERM).

    Args:
        auth: ``user:password``; the setting, where none is given.
        host: address to listen on; the setting, where none is given.
        port: to listen on; the setting, where none is given.

    Raises:
        ConfigurationError: there is no password, or one that Flower would take apart.
    """
    chosen = settings()
    # By the environment: a command line can be read by everybody on the machine.
    os.environ["FLOWER_BASIC_AUTH"] = checked(auth or chosen.flower_auth.get_secret_value())
    _protect_figures()
    from tasks import app

    app.start(arguments(chosen, host, port))


def arguments(chosen: Settings, host: str, port: int | None) -> list[str]:
    """Celery's command line for Flower, without the password."""
    return [
        "flower",
        f"--address={host or chosen.flower_host}",
        f"--port={chosen.flower_port if port is None else port}",
        f"--tasks_columns={COLUMNS}",
    ]


def checked(auth: str) -> str:
    """``auth``, if it is what Flower can ask for.

    Raises:
        ConfigurationError: it is not; the message does not repeat it.
    """
    if not AUTH.fullmatch(auth):
        raise ConfigurationError(
            "Flower needs --auth or JUSTLENS_FLOWER_AUTH: user:password, without commas or spaces"
        )
    return auth


def _protect_figures() -> None:
    """Flower shows its ``/metrics`` to anybody; here they need the password, too."""
    Metrics.get = authenticated(Metrics.get)


if __name__ == "__main__":
    flower()
