"""Against a real HTTP server that answers what a test has put down."""

import base64
import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from PIL import Image

import models
from models.errors import (
    DescriberRefused,
    DescriberUnavailable,
    NotConfigured,
    UnknownPrompt,
    UnreadableAnswer,
    UnsuitableInput,
)
from models.openai_describer import OpenAIDescriber
from models.reader import ReadText

SAID = {"alt_text": "A cup", "description": "A red cup.", "tags": ["cup"], "category_match": 1}
WIDE = np.full((700, 2100, 3), (200, 30, 30), dtype=np.uint8)


class Endpoint(ThreadingHTTPServer):
    """Answers with ``script``, (status, body, headers) after another; the last for ever."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script: list[tuple[int, Any, dict[str, str]]] = []
        self.requests: list[dict[str, Any]] = []

    def says(self, *contents: Any) -> None:
        self.script = [
            (200, {"choices": [{"message": {"content": content}}]}, {}) for content in contents
        ]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: Endpoint
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append({"path": self.path, "headers": self.headers, **body})
        script = self.server.script
        status, answer, headers = script.pop(0) if len(script) > 1 else script[0]
        text = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(text))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def describer(endpoint: Endpoint) -> Iterator[OpenAIDescriber]:
    made = OpenAIDescriber(url=endpoint.url, model="seer", key="s3cret", deadline=20)
    yield made
    made.unload()


@pytest.fixture(autouse=True)
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.openai_describer.FIRST_WAIT", 0.01)


def ask(describer: OpenAIDescriber, **options: Any) -> Any:
    options = {"categories": ["Cafés"], "prompt": "", **options}
    return describer(WIDE, labels=(), text=ReadText(), business="Zenith", **options)


def test_a_picture_is_described(endpoint: Endpoint, describer: OpenAIDescriber) -> None:
    endpoint.says(json.dumps(SAID))
    found = ask(describer)
    assert found.description == "A red cup."
    assert (found.category_match, found.made_from) == (True, "seer")
    assert describer.identity == "openai/seer@1"

    (request,) = endpoint.requests
    assert request["path"] == "/v1/chat/completions"
    assert request["headers"]["Authorization"] == "Bearer s3cret"
    assert (request["model"], request["temperature"]) == ("seer", 0)
    assert request["response_format"] == {"type": "json_object"}
    words, image = request["messages"][0]["content"]
    assert "listed under: Cafés" in words["text"]
    assert "Zenith" not in words["text"]
    prefix = "data:image/jpeg;base64,"
    assert image["image_url"]["url"].startswith(prefix)
    sent = Image.open(io.BytesIO(base64.b64decode(image["image_url"]["url"].removeprefix(prefix))))
    assert sent.size == (1024, 341)
    red, green, blue = sent.getpixel((500, 100))
    assert red > 180
    assert max(green, blue) < 60


def test_a_prompt_is_chosen_by_name(endpoint: Endpoint, describer: OpenAIDescriber) -> None:
    endpoint.says('{"alt_text": "A cup"}')
    assert ask(describer, prompt="alt_text").alt_text == "A cup"
    assert describer.asked("alt_text") == "alt_text@1"
    assert describer.asked("") == "vision_json_with_category@1"
    with pytest.raises(UnknownPrompt):
        ask(describer, prompt="poem")
    assert len(endpoint.requests) == 1


def test_a_model_is_told_why_it_is_asked_again(
    endpoint: Endpoint, describer: OpenAIDescriber
) -> None:
    endpoint.says("A red cup.", '{"alt_text": "A cup"}', json.dumps(SAID))
    assert ask(describer).description == "A red cup."
    questions = [request["messages"][0]["content"][0]["text"] for request in endpoint.requests]
    assert "could not be read" not in questions[0]
    assert "no JSON object" in questions[1]
    assert "description: Field required" in questions[2]
    assert "no JSON object" not in questions[2]


@pytest.mark.parametrize("content", ["A red cup.", None, [{"type": "text"}]])
def test_after_three_answers_that_cannot_be_read_it_is_over(
    endpoint: Endpoint, describer: OpenAIDescriber, content: Any
) -> None:
    endpoint.says(content)
    with pytest.raises(UnreadableAnswer, match="seer answered 3 times"):
        ask(describer)
    assert len(endpoint.requests) == 3


def test_a_body_without_a_choice_is_an_unreadable_answer(
    endpoint: Endpoint, describer: OpenAIDescriber
) -> None:
    endpoint.script = [(200, {"choices": []}, {}), (200, b"<html>", {})]
    with pytest.raises(UnreadableAnswer, match="no choice"):
        ask(describer)


def test_a_server_without_json_mode_is_asked_without_and_remembered(
    endpoint: Endpoint, describer: OpenAIDescriber
) -> None:
    endpoint.says("", json.dumps(SAID))
    endpoint.script[0] = (400, {"error": "response_format is not known"}, {})
    ask(describer)
    ask(describer)
    assert ["response_format" in request for request in endpoint.requests] == [True, False, False]


@pytest.mark.parametrize("status", [400, 404, 413])
def test_a_request_that_the_server_refuses_is_not_repeated(
    endpoint: Endpoint, describer: OpenAIDescriber, status: int
) -> None:
    endpoint.script = [(status, {"error": "no such thing"}, {})]
    with pytest.raises(DescriberRefused, match=f"{status}.*no such thing"):
        ask(describer)
    assert len(endpoint.requests) == (2 if status == 400 else 1)


def test_a_wrong_key_names_the_setting_and_not_the_key(
    endpoint: Endpoint, describer: OpenAIDescriber
) -> None:
    endpoint.script = [(401, {"error": "unknown key"}, {})]
    with pytest.raises(DescriberRefused, match="JUSTLENS_OPENAI_KEY") as raised:
        ask(describer)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_tried_again(
    endpoint: Endpoint, describer: OpenAIDescriber, status: int
) -> None:
    endpoint.says("", json.dumps(SAID))
    endpoint.script[0] = (status, {"error": "busy"}, {"Retry-After": "0"})
    assert ask(describer).description == "A red cup."
    assert len(endpoint.requests) == 2


def test_a_server_that_stays_busy_may_be_tried_later(
    endpoint: Endpoint, describer: OpenAIDescriber
) -> None:
    endpoint.script = [(503, {"error": "loading"}, {})]
    with pytest.raises(DescriberUnavailable, match=r"503.*loading"):
        ask(describer)
    assert len(endpoint.requests) == 3


def test_no_wait_is_longer_than_the_deadline(endpoint: Endpoint) -> None:
    endpoint.script = [(429, {"error": "slow down"}, {"Retry-After": "3600"})]
    describer = OpenAIDescriber(url=endpoint.url, model="seer", deadline=0.2)
    with pytest.raises(DescriberUnavailable, match="429"):
        ask(describer)
    assert len(endpoint.requests) == 1
    assert "Authorization" not in endpoint.requests[0]["headers"]


def test_no_server_is_no_answer() -> None:
    describer = OpenAIDescriber(url="http://127.0.0.1:9/v1", model="seer")
    with pytest.raises(DescriberUnavailable, match=r"127\.0\.0\.1:9/v1/chat.*ConnectError"):
        ask(describer)


def test_what_is_no_picture_is_refused_before_anything_is_sent(
    endpoint: Endpoint, describer: OpenAIDescriber
) -> None:
    with pytest.raises(UnsuitableInput):
        describer(WIDE[..., 0], labels=(), text=ReadText(), business="", categories=[])
    assert endpoint.requests == []


@pytest.mark.parametrize(
    ("options", "setting"),
    [
        ({"url": "", "model": "seer"}, "JUSTLENS_OPENAI_URL"),
        ({"url": "localhost:8000", "model": "seer"}, "JUSTLENS_OPENAI_URL"),
        ({"url": "http://localhost:8000/v1"}, "JUSTLENS_OPENAI_MODEL"),
    ],
)
def test_a_setting_that_is_missing_is_named(tmp_path, options: Any, setting: str) -> None:
    with pytest.raises(NotConfigured, match=setting):
        models.create("describer", "openai", weights=tmp_path, threads=1, **options)
