"""Celery's settings, plain data. What differs from its defaults differs for a reason (`docs/decisions/0005`)."""

from typing import Any

CELERY: dict[str, Any] = {
    # nothing is stored in a result backend: no chords, no `.get()`
    "result_backend": None,
    "task_ignore_result": True,
    "task_store_errors_even_if_ignored": False,
    # ids only, and never pickle
    "task_serializer": "json",
    "accept_content": ["json"],
    # a crash redelivers; a failure goes to the row, not back to Redis
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "task_retry_on_worker_lost": False,
    "task_acks_on_failure": True,
    "task_acks_on_timeout": True,
    "task_track_started": False,
    "task_default_queue": "tick",
    "worker_prefetch_multiplier": 1,
    "worker_eta_task_limit": 200,
    "worker_enable_soft_shutdown_on_idle": False,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "worker_deduplicate_successful_tasks": False,
    "worker_hijack_root_logger": False,
    "worker_send_task_events": True,
    "task_send_sent_event": False,
    "event_queue_expires": 60,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "broker_pool_acquire_timeout": 5,
    "task_publish_retry_policy": {"max_retries": 2, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.5},
    "broker_transport_options": {
        # above the longest step; a lapsed lease is rung by the rescuer long before
        "visibility_timeout": 300,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        # without these a half-open connection hangs a worker for ever
        "socket_timeout": 10,
        "socket_connect_timeout": 3,
        "socket_keepalive": True,
        "health_check_interval": 5,
        "max_connections": 50,
        "client_name": "celery",
    },
    "beat_max_loop_interval": 1,
    "timezone": "UTC",
    "imports": (
        "workers.tasks.agent",
        "workers.tasks.demo",
        "workers.tasks.invoices",
        "workers.tasks.payouts",
        "workers.tasks.plans",
        "workers.tasks.receipts",
        "workers.tasks.runs",
        "workers.tasks.sessions",
        "workers.tasks.ticks",
        "workers.tasks.verification",
    ),
}
