"""What a worker process has one of."""

import cv2
import pytest

from pipeline.settings import Settings
from tasks.runtime import Runtime


@pytest.mark.parametrize("count", [1, 2])
def test_opencv_takes_no_more_threads_than_the_process_may(count: int) -> None:
    before = cv2.getNumThreads()
    try:
        Runtime(Settings(threads=count))
        assert cv2.getNumThreads() == count
    finally:
        cv2.setNumThreads(before)
