"""What fresh processes find imported: what takes long and depends on no setting.

``tasks`` is not among it: Celery reads the settings as soon as a task is registered.
"""
# ruff: noqa: F401

import celery.apps.beat
import celery.apps.worker
import celery.backends.redis
import celery.bin.celery
import celery.concurrency.thread
import kombu.transport.pyamqp
import kombu.transport.redis

import cli.dlq
import models.detector
import models.watermark
import pipeline.alt_pages
import pipeline.alt_text
import pipeline.bridge
import pipeline.broker
import pipeline.business_name
import pipeline.looks
import pipeline.purge
import pipeline.reconcile
import pipeline.scoring
import pipeline.stores.documents_mongo
import pipeline.stores.documents_sqlite
import pipeline.stores.objects_folder
import pipeline.stores.objects_s3
import pipeline.stores.relational
import pipeline.stores.vectors_milvus
import pipeline.stores.vectors_sqlite
import pipeline.valkey
import tests.fast_models
