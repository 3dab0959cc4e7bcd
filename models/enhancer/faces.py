"""Face restoration: small, blurred faces of a photo drawn again, the rest of it left alone.

A restorer is a network for one aligned face (GFPGAN, Wang et al. 2021, arXiv:2101.04061, and those
that were built after it). Its weights are not packaged; an operator's own are loaded as ONNX.
"""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from models.base import Model
from models.enhancer.networks import digest
from models.errors import UnsuitableWeights, WeightsMissing
from models.onnx_session import open_session

if TYPE_CHECKING:
    import onnxruntime

LANDMARKS = np.array(
    [
        [192.98138, 239.94708],
        [318.90277, 240.1936],
        [256.63416, 314.01935],
        [201.26117, 371.41043],
        [313.08905, 371.15118],
    ],
    dtype=np.float32,
)
"""Eyes, nose and corners of the mouth, left to right, where an aligned face of 512 px has them: the
template of FFHQ that these networks were trained on."""

ALIGNED = 512
DETECTION_SCORE = 0.7
FEATHER = 0.06
"""Share of an aligned face's side over which the restored face fades into the photo."""


class FaceRestorer(Model):
    """Restores the faces of photos."""

    @abstractmethod
    def __call__(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns each image, RGB uint8 of shape (height, width, 3), with its faces restored."""


class _Loaded(NamedTuple):
    session: "onnxruntime.InferenceSession"
    side: int
    detector: Any


class OnnxFaceRestorer(FaceRestorer):
    """A restorer in an ONNX file, and YuNet (Wu et al. 2023) beside it to find the faces.

    The network takes and gives float32 RGB of shape (1, 3, side, side), -1..1: what exports of
    GFPGAN and its like have for their only input and their first output.

    Parameters
    ----------
    file:
        The restorer. In the same folder lies `face_detection_yunet.onnx`, from OpenCV's model zoo.
    """

    name = "onnx-faces"
    detector_name = "face_detection_yunet.onnx"

    def __init__(self, *, file: Path, weights: Path, threads: int) -> None:
        super().__init__(weights=weights, threads=threads)
        self._file = Path(file).expanduser()

    @property
    def identity(self) -> str:
        return f"{self.name}@{self.version}.{digest(self._file)}"

    def __call__(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        loaded = self.load()
        return [self._restore(image, loaded) for image in images]

    def _load(self) -> _Loaded:
        session, side = self._open_restorer()
        return _Loaded(session, side, self._open_detector())

    def _open_restorer(self) -> tuple["onnxruntime.InferenceSession", int]:
        if not self._file.is_file():
            raise WeightsMissing(f"there is no file {self._file} of a face restorer")
        try:
            session = open_session(self._file, self.threads)
        # ONNX Runtime raises classes of its own, which have no base but this.
        except Exception as error:
            raise UnsuitableWeights(f"{self._file} is not an ONNX model: {error}") from error
        shape = session.get_inputs()[0].shape
        if len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3]:
            raise UnsuitableWeights(
                f"{self._file} takes {shape}, which is no aligned face (1, 3, side, side)"
            )
        return session, shape[2] if isinstance(shape[2], int) else ALIGNED

    def _open_detector(self) -> Any:
        path = self._file.parent / self.detector_name
        if not path.is_file():
            raise WeightsMissing(f"there is no {path}, which finds the faces to restore")
        try:
            return cv2.FaceDetectorYN.create(str(path), "", (ALIGNED, ALIGNED), DETECTION_SCORE)
        except cv2.error as error:
            raise UnsuitableWeights(f"{path} is not YuNet: {error}") from error

    def _restore(self, image: np.ndarray, loaded: _Loaded) -> np.ndarray:
        result = image
        for landmarks in self._faces(image, loaded.detector):
            template = LANDMARKS * (loaded.side / ALIGNED)
            to_face, _ = cv2.estimateAffinePartial2D(landmarks, template, method=cv2.LMEDS)
            if to_face is not None:
                result = paste(result, self._draw(result, to_face, loaded), to_face)
        return result

    def _faces(self, image: np.ndarray, detector: Any) -> list[np.ndarray]:
        """The landmarks of each face, (5, 2) float32, in the order of `LANDMARKS`."""
        height, width = image.shape[:2]
        # The detector keeps the size of its input between calls.
        with self._lock:
            detector.setInputSize((width, height))
            _, found = detector.detect(np.ascontiguousarray(image[..., ::-1]))
        rows = found if found is not None else []
        return [np.asarray(row[4:14], dtype=np.float32).reshape(5, 2) for row in rows]

    def _draw(self, image: np.ndarray, to_face: np.ndarray, loaded: _Loaded) -> np.ndarray:
        """The restored face, aligned: (side, side, 3) uint8."""
        face = cv2.warpAffine(
            image, to_face, (loaded.side, loaded.side), borderMode=cv2.BORDER_REFLECT_101
        )
        given = (face.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)[None]
        session = loaded.session
        drawn = session.run(None, {session.get_inputs()[0].name: given})[0]
        return np.clip((drawn[0].transpose(1, 2, 0) + 1) * 127.5 + 0.5, 0, 255).astype(np.uint8)


def paste(image: np.ndarray, face: np.ndarray, to_face: np.ndarray) -> np.ndarray:
    """Puts an aligned face (side, side, 3) back to where `to_face` (2, 3) took it from."""
    side = face.shape[0]
    border = round(FEATHER * side)
    mask = np.zeros((side, side), dtype=np.float32)
    # Zero at the edge after the blur, too, which mirrors what lies inside of it.
    mask[border + 1 : -border - 1, border + 1 : -border - 1] = 1
    faded = cv2.blur(mask, (2 * border + 1, 2 * border + 1))
    back, size = cv2.invertAffineTransform(to_face), (image.shape[1], image.shape[0])
    share = cv2.warpAffine(faded, back, size)[..., None]
    placed = cv2.warpAffine(face, back, size, borderMode=cv2.BORDER_REPLICATE)
    return (image * (1 - share) + placed * share + 0.5).astype(np.uint8)
