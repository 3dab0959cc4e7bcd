"""The Celery application: ``celery -A tasks worker -Q image_enhance_process``.

Each stage is a module; what a worker process does at its start and end is in ``tasks.worker``.
"""

from celery import Celery

import tasks.logs
import tasks.metrics  # noqa: F401 - both listen to Celery's signals
from tasks.alt_text import AltText
from tasks.consumer import EventsTogether
from tasks.describe import Describe
from tasks.enhance import Enhance
from tasks.foreign import Foreign
from tasks.jobs import ForgetEvents, Reconcile
from tasks.nights import BeginNight, GoOn
from tasks.rabbitmq import BulkLanes
from tasks.retraining import Capture, Prepare
from tasks.score import ScoreStage
from tasks.tag import Tag
from tasks.update import Update

app = Celery("justlens")
app.config_from_object("celeryconfig")

for task in (
    Enhance,
    Update,
    Tag,
    Describe,
    ScoreStage,
    AltText,
    Reconcile,
    ForgetEvents,
    Foreign,
    Capture,
    Prepare,
    BeginNight,
    GoOn,
):
    app.register_task(task())
app.steps["consumer"].update({BulkLanes, EventsTogether})
