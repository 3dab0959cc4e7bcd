"""What travels through the queues."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.errors import InvalidMessage
from pipeline.messages import ImageJob, ImageMessage, explain

BODY: dict[str, Any] = {
    "schema_version": 1,
    "docid": "shop-1",
    "product_id": 7,
    "generation": 2,
    "correlation_id": "abc",
    "force": False,
    "prompt_name": "vision_json",
}
JOB: dict[str, Any] = {"docid": "shop-1", "product_id": 7, "product_url": "https://a.example/b.jpg"}


def test_a_message_comes_back_from_json_as_it_went() -> None:
    message = ImageMessage.decode(BODY)
    assert ImageMessage.decode(json.loads(json.dumps(message.encode()))) == message
    assert message.encode() == BODY


def test_two_messages_without_a_correlation_id_get_different_ones() -> None:
    body = {name: value for name, value in BODY.items() if name != "correlation_id"}
    assert ImageMessage.decode(body).correlation_id != ImageMessage.decode(body).correlation_id


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schema_version", 2),
        ("docid", ""),
        ("docid", "../etc/passwd"),
        ("docid", "x" * 65),
        ("docid", 5),
        ("product_id", 0),
        ("product_id", 2**63),
        ("product_id", "seven"),
        ("generation", 0),
        ("correlation_id", "x" * 65),
        ("prompt_name", "x" * 65),
        ("pixels", "base64"),
    ],
)
def test_a_message_that_does_not_fit_names_the_field(field: str, value: object) -> None:
    with pytest.raises(InvalidMessage, match=field):
        ImageMessage.decode({**BODY, field: value})


def test_every_field_at_fault_is_named_in_one_line() -> None:
    with pytest.raises(InvalidMessage) as raised:
        ImageMessage.decode({**BODY, "docid": "", "product_id": -1})
    text = str(raised.value)
    assert "docid: " in text
    assert "product_id: " in text
    assert "\n" not in text


@pytest.mark.parametrize("body", [None, 5, "text", [], [BODY]])
def test_what_is_no_object_is_no_message(body: object) -> None:
    with pytest.raises(InvalidMessage, match=r"^message: "):
        ImageMessage.decode(body)


def test_a_message_cannot_be_changed_on_its_way() -> None:
    with pytest.raises(ValidationError):
        ImageMessage.decode(BODY).docid = "other"


def test_a_job_takes_plain_json_with_few_fields() -> None:
    job = ImageJob.model_validate(JOB)
    assert (job.image_type, job.force, job.org_product_url) == ("general", False, "")


@pytest.mark.parametrize(
    "address",
    ["file:///etc/passwd", "ftp://a.example/b", "javascript:alert(1)", "https://a b", "/b.jpg"],
)
def test_a_job_refuses_addresses_that_are_not_of_the_web(address: str) -> None:
    with pytest.raises(ValidationError) as raised:
        ImageJob.model_validate({**JOB, "product_url": address})
    assert explain(raised.value).startswith("product_url: ")
