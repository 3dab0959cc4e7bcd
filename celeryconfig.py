"""Every Celery setting of JustLens, each with its reason."""

import ssl

from celery.schedules import crontab
from kombu.serialization import register as _register
from kombu.transport import TRANSPORT_ALIASES

from pipeline import message_json as _message_json
from pipeline import topology
from pipeline.dead_letters import CONFIRM_SECONDS
from pipeline.joins import join_backend
from pipeline.queues import JOBS, RETRAINING
from pipeline.settings import settings

_settings = settings()
_MINUTE = 60.0
_HOUR = 3600
_WEEK = 7 * 24 * _HOUR

broker_url = _settings.broker_url
result_backend = join_backend(_settings.result_url)

# JSON only: a message can then never make a worker execute what it carries.
accept_content = ["json"]
task_serializer = "json"
result_serializer = "json"
_register("json", _message_json.dumps, _message_json.loads, "application/json")

# The bulk lanes are queues, too, and come last: see `pipeline.topology`, also for their arguments.
task_queues = topology.work_queues()
task_default_queue = JOBS
task_default_exchange = topology.EXCHANGE.name
task_default_exchange_type = topology.EXCHANGE.type
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

# Threads share one copy of the model and one batcher; the number of slots follows the queues.
worker_pool = "threads"
# What nobody understands is parked, not dropped.
worker_consumer = "tasks.consumer:ParkingConsumer"
# Flower shows what runs.
worker_send_task_events = True
# Without a broker at start a worker waits for it.
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
# A thread cannot be cancelled. What runs while the connection is lost ends and leaves its result;
# its message comes back and finds the work done.
worker_cancel_long_running_tasks_on_connection_loss = False
# One log for all that a process writes, in the lines of `tasks.logs`.
worker_hijack_root_logger = True

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

# A dead connection is found within a minute, whatever the network says.
broker_heartbeat = 30
# Seconds to connect: a request must not hang on a dead broker.
broker_connection_timeout = 3

if broker_url.startswith(("redis", "rediss")):
    # Kombu's transport stops at a message that is not in its own form: ours takes any.
    TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), "pipeline.valkey:Transport"))
    broker_transport_options = {
        # Queues are asked in the order in which a worker names them: the bulk lanes last.
        "queue_order_strategy": "priority",
        "priority_steps": [0],
        "socket_keepalive": True,
    }
    result_backend_transport_options = {"visibility_timeout": _WEEK}
else:
    # Reads what has arrived at once. For addresses with TLS kombu's own stays.
    TRANSPORT_ALIASES["amqp"] = "pipeline.rabbitmq:Transport"
    # A message is sent when RabbitMQ has written it to a majority of its nodes, not before.
    broker_transport_options = {"confirm_publish": True}
    # A retry waits in RabbitMQ, not in a worker's slot.
    broker_native_delayed_delivery_queue_type = topology.DELAY_QUEUES
    if broker_url.startswith("amqps"):
        # None: the host of the address. Without it the name in the certificate is not compared.
        broker_use_ssl = {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None}
    # Prefetch is given to each consumer by itself: quorum queues know no other.
    worker_detect_quorum_queues = True

enable_utc = True
timezone = "UTC"

beat_schedule_filename = str(_settings.data_dir / "celerybeat-schedule")
# Seconds until beat, told to end, sees it.
beat_max_loop_interval = 1
# A broker that has hung must not take beat with it.
_to_jobs = {"queue": JOBS, "confirm_timeout": CONFIRM_SECONDS}
_to_retraining = {**_to_jobs, "queue": RETRAINING}
beat_schedule = {
    "reconcile": {
        "task": "reconcile",
        "schedule": _settings.reconcile_every,
        # Without an expiry, for what expires in a queue is a dead letter on RabbitMQ. Runs that
        # have piled up while no worker was there do nothing after the first.
        "options": _to_jobs,
    },
    "forget events": {"task": "forget_events", "schedule": _HOUR, "options": _to_jobs},
    "write hours of queries": {
        "task": "retraining_capture",
        # An hour is written when it has been over for some minutes.
        "schedule": crontab(minute=10),
        "options": _to_retraining,
    },
    "begin a retraining": {
        "task": "retraining_begin",
        # Behind the last hour of the day (UTC), and while few people search.
        "schedule": _settings.retrain_every or crontab(hour=1, minute=20),
        "options": _to_retraining,
    },
    "go on with a retraining": {
        "task": "retraining_go_on",
        # Who works at it holds a lease and no message: this is how another goes on after a kill.
        "schedule": min(_MINUTE, _settings.retrain_every or _MINUTE),
        "options": _to_retraining,
    },
}
