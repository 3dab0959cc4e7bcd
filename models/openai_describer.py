"""Descriptions by any server that speaks OpenAI's chat completions."""

import base64
import logging
import time
from pathlib import Path
from typing import Any

import httpx

from models.describer_vision import VisionDescriber
from models.errors import DescriberRefused, DescriberUnavailable, NotConfigured, UnreadableAnswer
from models.prompts import Prompt

log = logging.getLogger(__name__)

TRIES = 3
FIRST_WAIT = 0.5
"""Seconds before the second try, unless the server says how long; then twice as long."""

BUSY = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
SHOWN = 200


class OpenAIDescriber(VisionDescriber):
    """Asks one model of one server.

    Parameters
    ----------
    url:
        What ``/chat/completions`` is appended to, such as ``https://api.openai.com/v1``.
    model:
        Name of the model there.
    key:
        Bearer token; empty: none is sent.
    deadline:
        Seconds for an answer, further tries included.
    """

    name = "openai"
    side = 1024

    def __init__(
        self,
        *,
        weights: Path | None = None,
        threads: int = 1,
        url: str = "",
        model: str = "",
        key: str = "",
        deadline: float = 90.0,
    ) -> None:
        super().__init__(weights=weights or Path(), threads=threads)
        if not url.startswith(("http://", "https://")):
            raise NotConfigured("JUSTLENS_OPENAI_URL takes an address such as https://host/v1")
        if not model:
            raise NotConfigured("JUSTLENS_OPENAI_MODEL is empty; it names a model that sees")
        self._url = f"{url.rstrip('/')}/chat/completions"
        self._model = model
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._deadline = deadline
        self._takes_json_mode = True

    @property
    def model(self) -> str:
        return self._model

    def unload(self) -> None:
        with self._lock:
            client, self._loaded, self._is_loaded = self._loaded, None, False
        if client is not None:
            client.close()

    def _load(self) -> httpx.Client:
        return httpx.Client(headers=self._headers)

    def _ask(self, picture: bytes, question: str, prompt: Prompt) -> str:
        body = {
            "model": self._model,
            "temperature": 0,
            "max_tokens": prompt.max_tokens,
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": question},
                        {"type": "image_url", "image_url": {"url": _data_url(picture)}},
                    ],
                }
            ],
        }
        if self._takes_json_mode:
            response = self._post({**body, "response_format": {"type": "json_object"}})
            if response.status_code != httpx.codes.BAD_REQUEST:
                return _content(response)
            response = self._post(body)
            if response.is_success:
                log.info("%s takes no response_format", self._url)
                self._takes_json_mode = False
            return _content(response)
        return _content(self._post(body))

    def _post(self, body: dict[str, Any]) -> httpx.Response:
        """The server's answer, unless it is too busy for one until the deadline.

        Raises `DescriberUnavailable`.
        """
        client: httpx.Client = self.load()
        until = time.monotonic() + self._deadline
        wait, fault = FIRST_WAIT, ""
        for _ in range(TRIES):
            left = until - time.monotonic()
            if left <= 0:
                break
            try:
                response = client.post(self._url, json=body, timeout=left)
            except httpx.TransportError as error:
                fault = f"{type(error).__name__} {error}".strip()
            else:
                if response.status_code not in BUSY:
                    return response
                fault = f"{response.status_code} {response.text[:SHOWN]}"
                wait = max(wait, _retry_after(response))
            time.sleep(max(0.0, min(wait, until - time.monotonic())))
            wait *= 2
        raise DescriberUnavailable(f"{self._url} did not answer: {fault}")


def _data_url(picture: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(picture).decode()


def _retry_after(response: httpx.Response) -> float:
    """Seconds; a date, which some servers send instead, counts as none."""
    said = response.headers.get("Retry-After", "")
    return float(said) if said.isdecimal() else 0.0


def _content(response: httpx.Response) -> str:
    """The words of the answer.

    Raises `DescriberRefused` for an error, `UnreadableAnswer` for something else than words.
    """
    if not response.is_success:
        advice = "; see JUSTLENS_OPENAI_KEY" if response.status_code in (401, 403) else ""
        raise DescriberRefused(
            f"{response.url} answered {response.status_code}: {response.text[:SHOWN]}{advice}"
        )
    try:
        content = response.json()["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError) as error:
        raise UnreadableAnswer("there is no choice with a message in it") from error
    if not isinstance(content, str):
        raise UnreadableAnswer("the message has no content")
    return content
