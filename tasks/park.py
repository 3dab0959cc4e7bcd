"""The error callback of every stage.

It has the signature with which Celery calls a callback in the worker that failed, before the
message is acknowledged.
"""

from typing import Any

from celery import current_app

from tasks.stage import park as park_request


def park(request: Any, exc: BaseException, traceback: Any) -> None:
    """Park a failure that ended an image."""
    park_request(current_app, request, exc, ends_image=True)
