"""``justlens up``."""

import signal
import threading

from cli.output import out, print_json
from cli.processes import System, free_port
from pipeline.errors import JustLensError
from pipeline.settings import settings


def up(*, port: int | None, flower: str, json_output: bool) -> None:
    """Run the system until it is told to stop (Ctrl-C or SIGTERM)."""
    chosen = settings()
    flower = flower or chosen.flower_auth.get_secret_value()
    if flower:
        from cli.flower import checked

        checked(flower)
    port = chosen.api_port if port is None else port
    system = System(chosen, port=port or free_port(chosen.api_host), flower=flower)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with system.running():
        if json_output:
            print_json(
                {
                    "address": system.address,
                    "data_dir": str(chosen.data_dir),
                    "figures": system.figures,
                }
            )
        else:
            out.print(f"The result page is at [bold]{system.address}/[/]", highlight=False)
            out.print(f"The API is described at {system.address}/docs", highlight=False)
            if chosen.open_to == "nobody":
                out.print("Both ask for a key: `justlens keys make` makes one.", highlight=False)
            if flower:
                address = f"http://{chosen.flower_host}:{chosen.flower_port}/"
                out.print(f"Flower is at {address}", highlight=False)
            for name, address in system.figures.items():
                out.print(f"Figures of {name} are at {address}", highlight=False)
            out.print(f"Data and logs are in {chosen.data_dir}. Ctrl-C ends it.", highlight=False)
        while not stop.wait(1.0):
            if not system.is_up:
                logs = chosen.data_dir / "logs"
                raise JustLensError(f"the supervisor has ended, see {logs}/supervisor.log")
        if not json_output:
            out.print("Ending: running stages finish first.")
