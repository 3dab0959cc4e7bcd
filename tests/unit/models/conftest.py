"""Real models on real pictures. The artefacts are made once, where JUSTLENS_MODEL_DIR says."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

import models
from models import artefacts
from models.enhancer.networks import Compact
from models.image_text import ConSE
from models.text import MiniLM


@pytest.fixture(scope="session")
def weights() -> Path:
    return artefacts.default_weights()


@pytest.fixture(scope="session")
def minilm(weights) -> MiniLM:
    return models.create("text", "minilm", weights=weights, threads=2)


@pytest.fixture(scope="session")
def conse(weights, minilm) -> ConSE:
    return models.create("image_text", "conse", weights=weights, threads=2, text_encoder=minilm)


@pytest.fixture(scope="session")
def compact(weights) -> Compact:
    return models.create("enhancer", "compact", weights=weights, threads=2)


@pytest.fixture(scope="session")
def coffee() -> np.ndarray:
    return skimage.data.coffee()


@pytest.fixture(scope="session")
def cat() -> np.ndarray:
    return skimage.data.chelsea()


@pytest.fixture(scope="session")
def screenshot() -> np.ndarray:
    """A drawn application window with a bar, a side panel, rules and lines of text."""
    window = np.full((800, 1280, 3), 255, dtype=np.uint8)
    cv2.rectangle(window, (0, 0), (1280, 56), (33, 90, 170), -1)
    cv2.rectangle(window, (0, 56), (200, 800), (235, 235, 238), -1)
    for top in range(80, 760, 60):
        cv2.line(window, (200, top + 50), (1280, top + 50), (200, 200, 200), 1)
        cv2.putText(
            window, "Account settings", (220, top + 30), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (30,) * 3, 1
        )
    return window
