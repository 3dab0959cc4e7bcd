"""Descriptions from real Triton servers, whose models answer what a picture says."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.main import create
from api.wiring import Services
from models.describer import Description
from models.errors import DescriberRefused, DescriberUnavailable, UnreadableAnswer
from models.reader import ReadText
from models.triton_describer import TritonDescriber
from models.triton_models import SERVED, LlamaVision, Llava
from pipeline.graph import Sender
from pipeline.messages import ImageJob
from pipeline.queues import Stage
from pipeline.records import ImageState
from tests.pictures import encoded
from tests.services.conftest import Site
from tests.services.servers import free_port, triton
from tests.services.servers.triton.pictures import Kind, picture

pytestmark = pytest.mark.services

LIMIT = 30.0
COMMAND = str(Path(sys.executable).parent / "justlens")
numbers = count(1)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[triton.Server]]:
    """Two servers with one journal."""
    with triton.running(tmp_path_factory.mktemp("triton"), 2) as started:
        yield started


@pytest.fixture
def describer(servers: list[triton.Server]) -> Iterator[Callable[..., TritonDescriber]]:
    """Makes describers that ask both servers, unless others are named."""
    made = []

    def make(addresses: list[str] | None = None, **options: object) -> TritonDescriber:
        asked = addresses or [server.address for server in servers]
        made.append(TritonDescriber(servers=asked, **{"timeout": 5.0, "deadline": 20.0, **options}))
        return made[-1]

    yield make
    for one in made:
        one.unload()
    for server in servers:
        server.take(0)


def ask(describer: TritonDescriber, number: int, kind: Kind = Kind.WHOLE) -> Description:
    return describer(
        picture(number, kind), labels=(), text=ReadText(), business="", categories=["Patterns"]
    )


def says(number: int) -> str:
    return f"A pattern in black and white. It says {number}."


def asked(servers: list[triton.Server], number: int) -> int:
    """How often the servers were asked about a picture."""
    return sum(server.answered().count(number) for server in servers)


def until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, f"not within {LIMIT:.0f} s: {what}"
        time.sleep(0.05)


@pytest.mark.parametrize("model", sorted(SERVED))
def test_each_model_is_asked_in_its_own_way(describer, model: str) -> None:
    number = next(numbers)
    assert ask(describer(model=model), number) == Description(
        description=says(number),
        tags=("pattern", f"number {number}"),
        alt_text=f"Picture number {number}",
        category_match=bool(number % 2),
        made_from=model,
    )


@pytest.mark.parametrize(
    ("kind", "times"),
    [
        (Kind.FENCED, 1),
        (Kind.QUOTED_WRONG, 1),
        (Kind.WRONG_TYPES, 1),
        (Kind.CUT_OFF, 2),
        (Kind.PROSE, 2),
    ],
)
@pytest.mark.parametrize("model", sorted(SERVED))
def test_an_answer_is_repaired_or_asked_for_again(
    servers, describer, kind: Kind, times: int, model: str
) -> None:
    number = next(numbers)
    found = ask(describer(model=model), number, kind)
    assert found.description == says(number)
    assert found.tags == ("pattern", f"number {number}")
    assert asked(servers, number) == times


def test_a_model_that_never_answers_in_json_is_asked_three_times(servers, describer) -> None:
    number = next(numbers)
    with pytest.raises(UnreadableAnswer, match=r"3 times.*begins 'I see a pattern"):
        ask(describer(), number, Kind.NEVER)
    assert asked(servers, number) == 3


@pytest.mark.parametrize("model", sorted(SERVED))
def test_a_request_that_two_servers_fail_at_is_refused_and_the_servers_stay(
    servers, describer, model: str
) -> None:
    number, asking = next(numbers), describer(model=model)
    with pytest.raises(DescriberRefused, match=f"picture {number} cannot be looked at"):
        ask(asking, number, Kind.FAILING)
    assert [server.answered().count(number) for server in servers] == [1, 1]
    assert asking.servers() == {server.address: "" for server in servers}


def test_hundreds_of_descriptions_survive_a_server_that_is_killed_and_started_again(
    servers, describer
) -> None:
    total, width = 400, 32
    malformed = (Kind.FENCED, Kind.CUT_OFF, Kind.NEVER, Kind.WRONG_TYPES, Kind.QUOTED_WRONG)
    kinds = {
        next(numbers): malformed[index // 5 % len(malformed)] if index % 5 == 0 else Kind.WHOLE
        for index in range(total)
    }
    killed, other = servers
    for server in servers:
        server.take(0.8)
    asking = describer()

    with ThreadPoolExecutor(width) as threads:
        work: dict[int, Future[Description]] = {
            number: threads.submit(ask, asking, number, kind) for number, kind in kinds.items()
        }
        done = lambda: sum(future.done() for future in work.values())  # noqa: E731
        until(lambda: done() >= total // 4, "a quarter is done")
        killed.kill()
        before = set(killed.answered())
        killed.start()
        until(lambda: done() == total, "all are done")

    for number, future in work.items():
        if kinds[number] is Kind.NEVER:
            assert isinstance(future.exception(), UnreadableAnswer)
        else:
            assert future.result().description == says(number)
    again = (set(killed.answered()) - before) & set(kinds)
    assert again, "the server that was started again has work"
    assert set(other.answered()) & before, "what was lost with the server went to the other"


def test_a_slow_server_is_left_out_and_comes_back(servers, describer) -> None:
    slow, _ = servers
    asking = describer(timeout=0.5)
    slow.take(2)
    mine = [next(numbers) for _ in range(20)]
    assert [ask(asking, number).description for number in mine] == [says(n) for n in mine]
    assert asking.servers()[slow.address] == "no answer within 0.5 s"
    assert len(set(slow.answered()) & set(mine)) < 5

    slow.take(0)

    def is_back() -> bool:
        number = next(numbers)
        ask(asking, number)
        return number in slow.answered()

    until(is_back, "the server is asked again")
    until(lambda: is_back() and not any(asking.servers().values()), "nothing is held against it")


def test_a_late_answer_is_had_from_another_server(servers, describer) -> None:
    number, asking = next(numbers), describer(timeout=0.5)
    assert ask(asking, number, Kind.LATE).description == says(number)
    assert [server.answered().count(number) for server in servers] == [1, 1]
    assert sorted(asking.servers().values()) == ["", "no answer within 0.5 s"]


@pytest.mark.parametrize("model", sorted(SERVED))
def test_a_server_without_the_model_is_left_out_and_the_picture_is_not_blamed(
    servers, describer, model: str
) -> None:
    bare, _ = servers
    asking = describer(model=model)
    bare.drop(model)
    try:
        for _ in range(4):
            number = next(numbers)
            assert ask(asking, number).description == says(number)
            assert number not in bare.answered()
        assert asking.servers()[bare.address]
    finally:
        bare.load(model)

    def is_back() -> bool:
        number = next(numbers)
        ask(asking, number)
        return number in bare.answered()

    until(is_back, "the server is asked again")


def test_without_a_server_each_is_named_with_its_fault(describer) -> None:
    nowhere = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    asking = describer(nowhere, deadline=1.5)
    with pytest.raises(DescriberUnavailable, match=r"within 1.5 s") as raised:
        ask(asking, next(numbers))
    for address in nowhere:
        assert f"{address} (" in str(raised.value)
    assert "onnect" in str(raised.value)


def test_no_more_requests_than_allowed_are_in_flight(servers, describer) -> None:
    asking = describer(concurrency=4)
    for server in servers:
        server.take(0.3)
    began = time.monotonic()
    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(lambda number: ask(asking, number), range(3000, 3016)))
    assert len(found) == 16
    assert time.monotonic() - began >= 4 * 0.3


def test_an_unloaded_describer_loads_itself_again(describer) -> None:
    asking = describer()
    for number in (next(numbers), next(numbers)):
        assert ask(asking, number).description == says(number)
        asking.unload()


@pytest.fixture
def site_with_triton(tmp_path: Path, servers: list[triton.Server]) -> Iterator[Site]:
    site = Site(
        tmp_path,
        JUSTLENS_DESCRIBER="triton",
        JUSTLENS_TRITON_SERVERS=",".join(server.address for server in servers),
    )
    yield site
    site.close()


def test_what_the_model_says_reaches_the_scores_and_what_it_cannot_say_is_parked(
    site_with_triton: Site,
) -> None:
    site = site_with_triton
    site.worker()
    site.intake.accept_bytes("shop-1", 1, encoded(picture(3501)))
    site.intake.accept_bytes("shop-1", 2, encoded(picture(3502)))
    site.intake.accept_bytes("shop-1", 3, encoded(picture(3503, Kind.NEVER)))
    site.until(lambda: site.states() == {ImageState.DONE: 3}, "three images are done")

    documents = site.stores.documents
    metadata = {key[1]: found for key, found in documents.metadata(keys(1, 2, 3)).items()}
    assert metadata[1].description == says(3501)
    assert metadata[1].models[Stage.DESCRIBE.value] == f"triton/{Llava.name}@1"
    rows = documents.relevance(["shop-1"], [1])
    matches = {row.product_id: row.parts.get("category_match") for row in rows}
    assert matches == {1: 1.0, 2: 0.0, 3: None}
    assert metadata[3].stages[Stage.DESCRIBE.value].outcome == "failed"
    assert metadata[3].flags.text_heavy is False, "what does not need the model is known"
    (letter,) = documents.dead_letters(queue=Stage.DESCRIBE.value)
    assert (letter.exception, letter.tries) == ("UnreadableAnswer", 1)


def test_a_prompt_travels_with_its_job_and_changes_only_what_it_asks_for(
    site_with_triton: Site,
) -> None:
    site = site_with_triton
    site.worker()
    site.intake.accept_bytes("shop-1", 1, encoded(picture(3511)))
    site.until(lambda: site.states() == {ImageState.DONE: 1}, "it is done")
    documents = site.stores.documents
    before = documents.metadata(keys(1))["shop-1", 1]

    job = ImageJob(docid="shop-1", product_id=1, product_url="", prompt_name="alt_text")
    site.intake.accept_job(job, start=Stage.DESCRIBE)

    def after():
        return documents.metadata(keys(1))["shop-1", 1]

    stage = Stage.DESCRIBE.value
    site.until(lambda: after().stages[stage].key != before.stages[stage].key, "it is asked again")
    site.until(lambda: site.states() == {ImageState.DONE: 1}, "it is done again")
    assert after().description == before.description
    assert (before.cat_match, after().cat_match) == (True, None)


def test_who_looks_after_it_sees_what_is_wrong_mends_it_and_replays(
    site_with_triton: Site, servers: list[triton.Server]
) -> None:
    site = site_with_triton
    for server in servers:
        server.fail("CUDA out of memory")
    site.worker()
    for number in (1, 2):
        site.intake.accept_bytes("shop-1", number, encoded(picture(3520 + number)))
    site.until(lambda: site.states() == {ImageState.DONE: 2}, "they went on without")

    services = Services(site.settings, Sender(site.app))
    here = {"base_url": "http://localhost", "client": ("127.0.0.1", 1)}
    with TestClient(create(lambda: services), **here) as browser:
        page = re.sub(r"\s+", " ", browser.get("/operations").text)
        assert 'aria-label="2 dead letters of Describe"' in page
        assert '<span class="wrong">2 of 2</span>' in page
        for words in ("DescriberRefused", "CUDA out of memory", servers[0].address, "then replay"):
            assert words in page
        (cause,) = browser.get("/v1/operations").json()["images"]["dead_letters"]
        listed = subprocess.run(
            [COMMAND, "dlq", "list", "--newer-than", "1h"],
            env={**os.environ, **site.environment, "COLUMNS": "300"},
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout
        for words in ("shop-1/2", "CUDA out of memory", "2 DescriberRefused", cause["advice"]):
            assert words in listed

        for server in servers:
            server.fail("")
        chosen = {"queue": cause["queue"], "exception": cause["exception"]}
        replayed = browser.post("/v1/dead_letters/replay", json=chosen).json()
        assert [one["outcome"] for one in replayed] == ["sent", "sent"]

        def described() -> bool:
            found = site.stores.documents.metadata(keys(1, 2)).values()
            return all(one.description for one in found)

        site.until(described, "both are described")
        site.until(lambda: site.states() == {ImageState.DONE: 2}, "and done")
        assert "Nothing is parked" in browser.get("/operations").text
    assert site.parked(Stage.DESCRIBE.value) == []


def test_an_image_goes_on_without_a_description_when_no_server_comes_back(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    site = Site(
        tmp_path,
        JUSTLENS_DESCRIBER="triton",
        JUSTLENS_TRITON_SERVERS=address,
        JUSTLENS_TRITON_MODEL=LlamaVision.name,
        JUSTLENS_DESCRIBER_DEADLINE="0.5",
        JUSTLENS_MAX_RETRIES="1",
    )
    try:
        site.worker()
        site.take_in(1)
        site.until(
            lambda: site.states() == {ImageState.DONE: 1}, "it is done without a description"
        )
        (letter,) = site.stores.documents.dead_letters(queue=Stage.DESCRIBE.value)
        assert (letter.exception, letter.tries) == ("ModelUnavailable", 2)
        assert address in letter.message
    finally:
        site.close()


def keys(*product_ids: int) -> list[tuple[str, int]]:
    return [("shop-1", product_id) for product_id in product_ids]
