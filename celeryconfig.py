"""Every Celery setting of JustLens, each with its reason."""

from kombu import Exchange, Queue

from pipeline.joins import join_backend
from pipeline.queues import JOBS, QUEUES, Lane
from pipeline.settings import settings

_settings = settings()
_WEEK = 7 * 24 * 3600

broker_url = _settings.broker_url
result_backend = join_backend(_settings.result_url)

# JSON only: a message can then never make a worker execute what it carries.
accept_content = ["json"]
task_serializer = "json"
result_serializer = "json"

# A topic exchange, because delayed messages on RabbitMQ's quorum queues are held in a worker's
# slot with a direct one.
_exchange = Exchange("justlens", type="topic", durable=True)
task_queues = [Queue(name, _exchange, routing_key=name, durable=True) for name in QUEUES]
task_default_queue = JOBS
task_default_exchange = "justlens"
task_default_exchange_type = "topic"
task_default_routing_key = JOBS
# A misspelt queue is an error at the sender, not a new queue that nobody reads.
task_create_missing_queues = False

# A message is acknowledged when its work is done: a lost worker's message comes back.
task_acks_late = True
task_reject_on_worker_lost = True
# A failure is parked before it is acknowledged, so that it need not come back.
task_acks_on_failure = True
task_acks_on_timeout = True
# One message a slot: what a slow worker holds in reserve, a free one could have done.
worker_prefetch_multiplier = 1
# Tasks that a stage starts stay in its lane.
task_inherit_parent_priority = True
task_default_priority = int(Lane.INTERACTIVE)

# Threads share one copy of the model and one batcher; the number of slots follows the queues.
worker_pool = "threads"
# What nobody understands is parked, not dropped.
worker_consumer = "tasks.consumer:ParkingConsumer"
# Flower shows what runs.
worker_send_task_events = True
# Without a broker at start a worker waits for it.
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
# After a lost connection unacknowledged messages come back: their first run is of no use.
worker_cancel_long_running_tasks_on_connection_loss = True
# The log keeps the format that the process was started with.
worker_hijack_root_logger = True
worker_log_format = "%(asctime)s %(levelname)s %(processName)s %(message)s"
worker_task_log_format = "%(asctime)s %(levelname)s %(task_name)s[%(task_id)s] %(message)s"

# Stages leave what they find in the stores; only the chord's join needs the result backend.
task_ignore_result = True
# The state of a join must outlive the longest backlog.
result_expires = _WEEK

# A request must not hang on a dead broker: it says 503 after a second or two.
task_publish_retry_policy = {
    "max_retries": 2,
    "interval_start": 0.1,
    "interval_step": 0.3,
    "interval_max": 0.5,
}

if broker_url.startswith(("redis", "rediss")):
    broker_transport_options = {
        # Lanes: within a queue the lower number goes first, the bulk lane when it is empty.
        "priority_steps": [int(lane) for lane in Lane],
        "queue_order_strategy": "priority",
        # A living worker's message never comes back by age: how long a backlog or a training may
        # take is not known. A dead worker's is given back by `tasks.unacked`.
        "visibility_timeout": _WEEK,
        "socket_keepalive": True,
    }
    result_backend_transport_options = {"visibility_timeout": _WEEK}

enable_utc = True
timezone = "UTC"

beat_schedule_filename = str(_settings.data_dir / "celerybeat-schedule")
beat_schedule = {
    "reconcile": {
        "task": "reconcile",
        "schedule": _settings.reconcile_every,
        # A run that waited longer than its interval is replaced by the next.
        "options": {"queue": JOBS, "expires": _settings.reconcile_every},
    },
}
