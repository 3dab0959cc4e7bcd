"""Every answer is one that the OpenAPI document has, whether the request is of its kind or not."""

import hashlib
from collections.abc import Iterator
from importlib.resources import files
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis.strategies import one_of
from schemathesis import APIOperation, Case, GenerationMode, HookContext, openapi
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.types import Receive, Scope, Send

from api import catalogue, ingest, relevancy
from pipeline.dead_letters import Parking, letter_from
from pipeline.queues import Stage
from pipeline.stores.objects import object_key
from tests.shops import open_shops

# The last one forgets businesses.
APPLICATIONS = (relevancy, catalogue, ingest)
REQUESTS = 50
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]

ROCKET = hashlib.sha256(files("skimage.data").joinpath("rocket.jpg").read_bytes()).hexdigest()
OBJECT = object_key("originals", ROCKET, "image/jpeg")
LETTER = letter_from(queue=Stage.TAG, task=Stage.TAG, task_id="7", error=ValueError("why"))
# What there is: under names that are only made up, nothing is found.
KNOWN: dict[str, list[Any]] = {
    "path.docid": ["cafe", "museum", "garage"],
    "body.docids[*]": ["cafe", "museum", "garage"],
    "path.product_id": [101, 102, 201, 202, 301],
    "path.width": [160, 320, 640],
    "header.if-none-match": [f'"{ROCKET}.jpg"', f'"{ROCKET}.jpg-160"'],
}
CONFIG = {
    "generation": {"with-security-parameters": False},
    "dictionaries": {name: {"values": values} for name, values in KNOWN.items()},
    "parameters": {name: {"dictionary": name, "probability": 0.6} for name in KNOWN},
}


def operations(module: ModuleType) -> Iterator[APIOperation]:
    """What an application says that it does; it is asked in this process."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http", "it works with what the test has opened"
        await module.app(scope, receive, send)

    document = openapi.from_dict(module.app.openapi(), config=SchemathesisConfig.from_dict(CONFIG))
    document.app = app

    @document.hook
    def map_path_parameters(
        context: HookContext, parameters: dict[str, Any] | None
    ) -> dict[str, Any] | None:
        """Some of the keys, which a dictionary cannot give for the slashes in them."""
        if parameters and len(str(parameters.get("key", ""))) % 2:
            is_letter = context.operation.path.startswith("/v1/dead_letters/")
            parameters["key"] = LETTER.key if is_letter else OBJECT
        return parameters

    for operation in document.get_all_operations():
        yield operation.ok()


@pytest.fixture(scope="module", autouse=True)
def shops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Of all three applications, open to anybody and as often as they like."""
    shops = open_shops(tmp_path_factory.mktemp("shops"))
    parking = Parking(shops.stores.documents, shops.broker.error_queues.park)
    parking.park(LETTER, ends_image=True)
    for module in APPLICATIONS:
        module.app.state.services = shops
    yield
    shops.close()


@pytest.mark.parametrize(
    "operation",
    [
        pytest.param(operation, id=f"{module.__name__} {operation.label}")
        for module in APPLICATIONS
        for operation in operations(module)
    ],
)
def test_an_operation_answers_as_its_document_says(operation: APIOperation) -> None:
    @given(
        one_of(
            *map(operation.as_strategy, GenerationMode), *operation.get_strategies_from_examples()
        )
    )
    @seed(7)
    @settings(
        max_examples=REQUESTS,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    def ask(case: Case) -> None:
        # Raises where the answer is not as the document says.
        answers.append(case.call_and_validate(checks=CHECKS))

    answers: list[Any] = []
    ask()
    assert answers and all(answer.status_code < 500 for answer in answers)
