"""Stands in for Llama 3.2 Vision on TensorRT-LLM: one response to each request."""

import base64

import numpy as np
import stand_in
import triton_python_backend_utils as pb

PREFIX = b"data:image/jpeg;base64,"


class TritonPythonModel:
    """Answers one request after the other."""

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        def value(name):
            return pb.get_input_tensor_by_name(request, name).as_numpy()[0, 0]

        try:
            question, address = value("text_input").decode(), value("image_url_input")
            if "<|image|>" not in question or not address.startswith(PREFIX) or value("top_k") != 1:
                raise stand_in.Failure("asked in another way than expected")
            text, seconds = stand_in.answer(base64.b64decode(address[len(PREFIX) :]), question)
            stand_in.wait(seconds)
        except Exception as error:  # noqa: BLE001 - Triton is told
            return pb.InferenceResponse(error=pb.TritonError(str(error)))
        tensor = pb.Tensor("text_output", np.asarray([[text.encode()]], dtype=np.object_))
        return pb.InferenceResponse([tensor])
