"""The vision-language models of ``docker/triton/model_repository``, and how each is asked.

Names, types and shapes are those of the backends: the vLLM backend's `src/utils/request.py`, and
the ensemble of TensorRT-LLM's `triton_backend/all_models/multimodal`.
"""

import base64
import json
from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from tritonclient.grpc import InferInput
from tritonclient.utils import np_to_triton_dtype

OUTPUT = "text_output"


class ServedModel(ABC):
    """A model in Triton's model repository.

    Attributes:
        name: of its folder there.
        side: longest side of what it sees, pixels.
        sees_squares: whether its processor crops whatever is not a square.
        template: a turn of its conversation, with its mark for the picture and ``{question}``.
        is_decoupled: whether it answers a request with a stream of responses.
    """

    name: ClassVar[str]
    side: ClassVar[int]
    sees_squares: ClassVar[bool]
    template: ClassVar[str]
    is_decoupled: ClassVar[bool]

    @abstractmethod
    def inputs(self, question: str, picture: bytes, max_tokens: int) -> list[InferInput]:
        """The tensors of one request; `picture` is a JPEG."""


class Llava(ServedModel):
    """LLaVA 1.5 with 7 billion parameters on the vLLM backend."""

    name = "llava_1_5_7b"
    side = 336
    # Its processor cuts the longer side off, which hides half of a panorama.
    sees_squares = True
    template = "USER: <image>\n{question}\nASSISTANT:"
    is_decoupled = True

    def inputs(self, question: str, picture: bytes, max_tokens: int) -> list[InferInput]:
        sampling = {"max_tokens": max_tokens, "temperature": 0}
        return [
            _tensor("text_input", [self.template.format(question=question).encode()]),
            _tensor("image", [base64.b64encode(picture)]),
            _tensor("sampling_parameters", [json.dumps(sampling).encode()]),
            # Nobody reads along: one response at the end costs less than one for each token.
            _tensor("stream", [False]),
            _tensor("exclude_input_in_output", [True]),
        ]


class LlamaVision(ServedModel):
    """Llama 3.2 Vision Instruct with 11 billion parameters on TensorRT-LLM, an ensemble."""

    name = "llama_3_2_11b_vision"
    # Four tiles of 560.
    side = 1120
    sees_squares = False
    # The tokenizer puts the beginning of the text before it.
    template = (
        "<|start_header_id|>user<|end_header_id|>\n\n<|image|>{question}<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )
    is_decoupled = False

    def inputs(self, question: str, picture: bytes, max_tokens: int) -> list[InferInput]:
        # Its `image_bytes_input` takes pixels; a JPEG travels as the address that carries it.
        address = b"data:image/jpeg;base64," + base64.b64encode(picture)
        return [
            _tensor("text_input", [[self.template.format(question=question).encode()]]),
            _tensor("image_url_input", [[address]]),
            _tensor("max_tokens", [[np.int32(max_tokens)]]),
            # The most probable token each time, as at temperature 0.
            _tensor("top_k", [[np.int32(1)]]),
        ]


SERVED: dict[str, type[ServedModel]] = {model.name: model for model in (Llava, LlamaVision)}


def _tensor(name: str, values: list) -> InferInput:
    array = np.asarray(values)
    if array.dtype.kind == "S":
        array = np.asarray(values, dtype=np.object_)
    tensor = InferInput(name, array.shape, np_to_triton_dtype(array.dtype))
    tensor.set_data_from_numpy(array)
    return tensor
