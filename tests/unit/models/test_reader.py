from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

import models
from models.errors import UnsuitableInput
from models.reader import ReadText, TextLine


@pytest.fixture(scope="module")
def reader(weights):
    return models.create("reader", "rapidocr", weights=weights, threads=2)


@pytest.fixture(scope="module")
def sign():
    board = np.full((240, 640, 3), 230, dtype=np.uint8)
    cv2.putText(board, "BREAKFAST MENU", (30, 130), cv2.FONT_HERSHEY_SIMPLEX, 2, (20, 20, 120), 5)
    return board


def test_a_sign_is_read_with_the_area_it_covers(reader, sign):
    read = reader(sign)
    assert read.text.replace(" ", "") == "BREAKFASTMENU"
    assert read.lines[0].confidence > 0.8
    assert 0.1 < read.coverage < 0.6


def test_a_large_picture_is_read_as_its_smaller_copy(reader, sign):
    large = cv2.resize(sign, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    assert reader(large).text.replace(" ", "") == "BREAKFASTMENU"
    assert reader(large).coverage == pytest.approx(reader(sign).coverage, abs=0.1)


def test_a_picture_without_text_gives_no_lines(reader):
    assert reader(np.full((100, 120, 3), 128, dtype=np.uint8)) == ReadText()


def test_threads_may_read_at_once(reader, sign):
    blank = np.full_like(sign, 128)
    with ThreadPoolExecutor(4) as pool:
        texts = [read.text for read in pool.map(reader, [sign, blank] * 4)]
    assert [bool(text) for text in texts] == [True, False] * 4


def test_a_picture_of_another_kind_is_refused(reader, sign):
    with pytest.raises(UnsuitableInput):
        reader(sign[..., 0])


def test_coverage_is_never_more_than_the_whole_picture():
    lines = (TextLine("a", 1.0, 0.7), TextLine("b", 1.0, 0.6))
    assert ReadText(lines).coverage == 1.0
    assert ReadText(lines).text == "a\nb"
    assert ReadText().text == ""
