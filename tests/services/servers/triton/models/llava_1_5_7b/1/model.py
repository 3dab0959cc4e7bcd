"""Stands in for LLaVA on the vLLM backend: a stream of responses to each request."""

import base64
import json
import threading

import numpy as np
import stand_in
import triton_python_backend_utils as pb


class TritonPythonModel:
    """Answers each request in a thread of its own, as vLLM has many in flight."""

    def execute(self, requests):
        for request in requests:
            threading.Thread(
                target=self._answer, args=(request, request.get_response_sender())
            ).start()

    def _answer(self, request, sender):
        def value(name):
            return pb.get_input_tensor_by_name(request, name).as_numpy()[0]

        try:
            sampling = json.loads(value("sampling_parameters"))
            if (
                not sampling["max_tokens"]
                or not value("exclude_input_in_output")
                or value("stream")
            ):
                raise stand_in.Failure("asked in another way than expected")
            question = value("text_input").decode()
            if not question.startswith("USER: <image>\n") or not question.endswith("\nASSISTANT:"):
                raise stand_in.Failure("no turn of a conversation")
            text, seconds = stand_in.answer(base64.b64decode(value("image")), question)
            stand_in.wait(seconds)
            tensor = pb.Tensor("text_output", np.asarray([text.encode()], dtype=np.object_))
            response = pb.InferenceResponse([tensor])
        except Exception as error:  # noqa: BLE001 - Triton is told
            response = pb.InferenceResponse(
                error=pb.TritonError(f"Error generating stream: {error}")
            )
        sender.send(response, flags=pb.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
