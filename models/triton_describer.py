"""Descriptions by a vision-language model on Triton."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.describer_vision import VisionDescriber
from models.errors import NotConfigured
from models.prompts import Prompt
from models.triton import Triton
from models.triton_models import SERVED, Llava

# The mean colour of the pictures that LLaVA's vision tower was trained on: what its authors frame
# a picture with to make it a square.
FRAME = (122, 116, 104)


class TritonDescriber(VisionDescriber):
    """Asks a model on one or several Triton servers (see `models.triton`).

    Parameters
    ----------
    servers:
        ``host:port`` of each server's gRPC, with ``grpcs://`` before it for TLS.
    model:
        Name of the model in the servers' repositories; one of `models.triton_models.SERVED`.
    deadline:
        Seconds for an answer, tries on other servers included.
    timeout:
        Seconds after which a server that has not answered is left out.
    concurrency:
        Most requests of this process in flight.
    """

    name = "triton"

    def __init__(
        self,
        *,
        weights: Path | None = None,
        threads: int = 1,
        servers: Sequence[str] = ("127.0.0.1:8001",),
        model: str = Llava.name,
        deadline: float = 90.0,
        timeout: float = 40.0,
        concurrency: int = 32,
    ) -> None:
        super().__init__(weights=weights or Path(), threads=threads)
        if model not in SERVED:
            raise NotConfigured(
                f"JUSTLENS_TRITON_MODEL is {model!r}; known models: {', '.join(SERVED)}"
            )
        if not servers:
            raise NotConfigured("JUSTLENS_TRITON_SERVERS is empty; it takes host:port,host:port")
        self.served = SERVED[model]()
        self.side = self.served.side
        self._servers = servers
        self._limits = {"deadline": deadline, "timeout": timeout}
        self._concurrency = concurrency

    @property
    def model(self) -> str:
        return self.served.name

    def unload(self) -> None:
        with self._lock:
            client, self._loaded, self._is_loaded = self._loaded, None, False
        if client is not None:
            client.close()

    def servers(self) -> dict[str, str]:
        """Each server's address, and why it is left out; empty: it is not."""
        client: Triton = self.load()
        return client.servers()

    def _load(self) -> Triton:
        return Triton(self._servers, self.served, concurrency=self._concurrency, **self._limits)

    def _framed(self, image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        if not self.served.sees_squares or height == width:
            return image
        side = max(height, width)
        square = np.full((side, side, 3), FRAME, dtype=np.uint8)
        top, left = (side - height) // 2, (side - width) // 2
        square[top : top + height, left : left + width] = image
        return square

    def _ask(self, picture: bytes, question: str, prompt: Prompt) -> str:
        client: Triton = self.load()
        return client.ask(question, picture, prompt.max_tokens)
