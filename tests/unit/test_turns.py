"""Pages take turns; who finds too many waiting is turned away."""

import anyio
import pytest
from fastapi.testclient import TestClient

from api.turns import Turns
from api.wiring import Services
from pipeline.errors import TooBusy


async def settled() -> None:
    """All tasks have come as far as they can."""
    for _ in range(10):
        await anyio.lowlevel.checkpoint()


def test_a_few_are_let_in_and_the_others_follow_in_the_order_in_which_they_came() -> None:
    async def course() -> list[str]:
        turns, told = Turns(at_once=2, waiting=2), []
        ends = {name: anyio.Event() for name in "abcd"}

        async def page(name: str) -> None:
            async with turns.turn():
                told.append(f"{name} begins")
                await ends[name].wait()

        async with anyio.create_task_group() as tasks:
            for name in "abcd":
                tasks.start_soon(page, name)
                await settled()
            for name in "badc":
                told.append(f"{name} ends")
                ends[name].set()
                await settled()
        return told

    assert anyio.run(course) == [
        *("a begins", "b begins"),
        *("b ends", "c begins"),
        *("a ends", "d begins"),
        *("d ends", "c ends"),
    ]


def test_who_finds_as_many_waiting_as_may_is_turned_away_until_one_of_them_has_gone() -> None:
    async def course() -> None:
        turns, end = Turns(at_once=1, waiting=1), anyio.Event()

        async def page() -> None:
            async with turns.turn():
                await end.wait()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(page)
            tasks.start_soon(page)
            await settled()
            with pytest.raises(TooBusy, match="1 pages wait"):
                await page()
            end.set()
            await settled()
            await page()

    anyio.run(course)


def test_a_turn_ends_with_an_error_and_with_one_who_gives_up_waiting() -> None:
    async def course() -> None:
        turns = Turns(at_once=1, waiting=1)
        with pytest.raises(ValueError, match="a page that fails"):
            async with turns.turn():
                raise ValueError("a page that fails")
        async with turns.turn():
            with anyio.move_on_after(0):
                async with turns.turn():
                    raise AssertionError("let in beside the other")
        async with turns.turn():
            pass

    anyio.run(course)


@pytest.fixture
def busy(own_shops: Services, writer: TestClient) -> TestClient:
    """Asks an application in which nobody's turn ever comes."""
    own_shops.turns = Turns(at_once=0, waiting=0)
    return writer


def test_a_server_that_is_too_busy_says_so_and_when_to_ask_again(busy: TestClient) -> None:
    for answer in (
        busy.get("/v1/relevance/cafe"),
        busy.post("/v1/relevance", json={"docids": ["cafe"]}),
    ):
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert answer.json()["title"] == "Too much is asked for at once"


def test_a_person_whose_page_is_turned_away_reads_why(busy: TestClient) -> None:
    for path in ("/", "/results"):
        answer = busy.get(path, params={"query": "coffee"})
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert "0 pages wait for their turn: ask again later" in answer.text
        assert 'href="/?query=coffee"' in answer.text


def test_what_is_no_page_is_answered_meanwhile(busy: TestClient) -> None:
    assert busy.get("/health").status_code == 200
    assert "Coffee Shops" in busy.get("/v1/suggest", params={"q": "cof"}).json()["suggestions"]
    assert busy.get("/v1/catalogue/cafe/images").status_code == 200
