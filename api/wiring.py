"""What an application works with, built once for each process when it starts.

Importing a module of ``api`` opens no connection and loads no model: all of that begins here.
"""

import asyncio
import gc
import logging
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import cached_property
from http import HTTPStatus
from typing import Annotated, Any, Protocol, cast

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.security import HTTPBearer
from starlette.concurrency import run_in_threadpool
from starlette.middleware.gzip import GZipMiddleware

import models
from api import operations, problems
from api.access import Door
from api.body_limit import BodyLimit
from api.correlation import Correlation
from api.hosts import Hosts
from api.rate_limits import RateLimits
from api.servings import Answering, Servings
from api.shields import Cors, SecurityHeaders
from api.turns import Turns
from api.visitors import Visitors
from models.errors import ModelError
from models.image_text import ImageTextEncoder
from models.text import TextEncoder
from pipeline.backlog import Backlog
from pipeline.embeddings import TextEmbeddings
from pipeline.error_queues import ErrorQueues
from pipeline.errors import BrokerUnavailable, ConfigurationError, StoreUnavailable
from pipeline.forgetting import Forgetting
from pipeline.graph import Sender
from pipeline.ingest import Intake
from pipeline.logs import write_log
from pipeline.purge import purge_of_objects
from pipeline.queues import Stage
from pipeline.records import CatalogueImage
from pipeline.replay import Replayer
from pipeline.retraining.capture import QueryLog
from pipeline.retraining.shadow import Shadow, pair_of
from pipeline.serving import Serving
from pipeline.settings import Settings, settings
from pipeline.smaller import SmallerVersions
from pipeline.stores import open_stores
from pipeline.text_spaces import BASE, fetch
from pipeline.workers import RollCall

log = logging.getLogger(__name__)


class Broker(Protocol):
    """What sends graphs; ``pipeline.graph.Sender``."""

    def __call__(self, image: CatalogueImage, start: Stage = Stage.ENHANCE) -> None:
        """Send the graph of an image."""

    def backlog(self) -> Backlog:
        """Messages that wait in each lane of each queue."""

    def workers(self) -> dict[str, list[str]]:
        """The queues of each worker that answers."""

    @property
    def error_queues(self) -> ErrorQueues:
        """The queues that dead letters lie in."""


class Services:
    """Stores, models and what is built on them, each made when it is first asked for.

    Args:
        settings: of this process.
        broker: where images are sent; Celery's broker, where none is given.
    """

    def __init__(self, settings: Settings, broker: Broker | None = None) -> None:
        self.settings = settings
        self.stores = open_stores(settings)
        self._broker = broker
        self._warming = threading.Lock()

    @cached_property
    def broker(self) -> Broker:
        """Where images are sent."""
        return self._broker or Sender()

    @cached_property
    def intake(self) -> Intake:
        """The door for images."""
        return Intake(self.stores, self.settings, self.broker)

    @cached_property
    def replayer(self) -> Replayer:
        """What sends again what was parked."""
        queues = self.broker.error_queues
        documents = self.stores.documents
        return Replayer(documents, self.intake, queues.send_back, queues.withdraw)

    @cached_property
    def forgetting(self) -> Forgetting:
        """What removes images and businesses."""
        purge = purge_of_objects(self.settings, self.stores.objects)
        return Forgetting(self.stores, self.broker.error_queues.withdraw, purge)

    @cached_property
    def workers(self) -> RollCall:
        """The workers that answered lately."""
        return RollCall(lambda: self.broker.workers())

    @cached_property
    def visitors(self) -> Visitors:
        """Who sends requests."""
        return Visitors(self.settings, self.stores.keys.find)

    @cached_property
    def rate_limits(self) -> RateLimits:
        """How often they may ask."""
        return RateLimits(self.settings)

    @cached_property
    def turns(self) -> Turns:
        """At making pages."""
        return Turns(self.settings.pages_at_once, self.settings.pages_waiting)

    @cached_property
    def text_encoder(self) -> TextEncoder:
        """The model of queries, categories and descriptions; not loaded yet."""
        return cast(TextEncoder, self._model("text", self.settings.text_encoder))

    @cached_property
    def image_text_encoder(self) -> ImageTextEncoder:
        """The model whose space pictures lie in; not loaded yet."""
        return self._image_text_encoder(self.text_encoder)

    def _image_text_encoder(self, text: TextEncoder) -> ImageTextEncoder:
        encoder = self._model(
            "image_text",
            self.settings.image_text_encoder,
            text_encoder=text,
            **self.settings.image_text_options(),
        )
        return cast(ImageTextEncoder, encoder)

    @property
    def serving(self) -> Serving:
        """Answers for pages of businesses."""
        return self.servings.current().serving

    @cached_property
    def servings(self) -> Servings:
        """What answers, by the space of its text model."""
        return Servings(self.stores.documents, self._open_space)

    def _open_space(self, name: str) -> Answering:
        text, image_text = self.text_encoder, self.image_text_encoder
        if name != BASE:
            folder = fetch(self.stores.objects, name, self.settings.model_dir)
            text = cast(TextEncoder, self._model("text", "onnx", folder=folder, identity=name))
            image_text = self._image_text_encoder(text)
        vectors = self.stores.vectors
        space = _guarded(lambda: image_text.space)()
        serving = Serving(
            self.stores,
            TextEmbeddings(_guarded(text), text.identity, vectors, later=self._keep_later),
            TextEmbeddings(
                _guarded(image_text.encode_names),
                space,
                vectors,
                _guarded(image_text.classes),
                self._keep_later,
            ),
            _guarded(text.pieces),
            _guarded(image_text.background_names),
            self.settings,
            name,
        )
        return Answering(text, serving)

    @cached_property
    def _keeper(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, thread_name_prefix="embeddings")

    def _keep_later(self, *call: Any) -> None:
        # A new query would wait for the lock of the store that a worker has, and for the disk.
        self._keeper.submit(*call)

    @cached_property
    def shadow(self) -> Shadow:
        """What puts a share of the questions to the challenger, too, if there is one."""
        return Shadow(
            lambda: pair_of(self.serving, self.servings.challenger()),
            self.stores.shadow.save,
            self.settings.shadow_share,
            self.settings.shadow_waiting,
        )

    @cached_property
    def query_log(self) -> QueryLog | None:
        """What keeps queries for retraining; None: they are not kept."""
        return QueryLog(self.stores.queries.save) if self.settings.capture_queries else None

    @cached_property
    def smaller_versions(self) -> SmallerVersions:
        """Smaller versions of pictures, for pages."""
        return SmallerVersions(
            self.stores.objects,
            max_pixels=self.settings.max_pixels,
            pixels_in_flight=self.settings.pixels_in_flight,
            at_a_time=self.settings.threads,
        )

    def checks(self, needs: Sequence[str]) -> dict[str, str]:
        """What is wrong with each dependency; empty where it answers."""
        troubles = {name: trouble for name, trouble in self.stores.check().items() if name in needs}
        if "broker" in needs:
            troubles["broker"] = self._broker_trouble()
        if "text_encoder" in needs:
            waits = "warming up" if self._warming.locked() else ""
            is_loaded = self.servings.current().encoder.is_loaded
            troubles["text_encoder"] = waits if is_loaded else "not loaded yet"
        return troubles

    def warm_up(self) -> None:
        """Load what the first query would wait for; until then ``checks`` says so."""
        with self._warming:
            try:
                answering = self.servings.current()
                answering.encoder.load()
                answering.serving.warm_up()
            except (ModelError, ConfigurationError, StoreUnavailable) as error:
                log.warning("queries are answered without meaning for now: %s", error)
                return
            # What is loaded now stays for good: a full collection that walks through all of it
            # would stop a request for a tenth of a second.
            gc.collect()
            gc.freeze()
            # A page makes some ten thousand objects that all go with it: at the default of 700 the
            # collector looks twenty times for cycles that are not there.
            gc.set_threshold(50_000, 20, 20)

    def close(self) -> None:
        """Save what is still in memory, and give connections back."""
        self.servings.close()
        self._keeper.shutdown()
        del self._keeper
        self.shadow.close()
        del self.shadow
        if self.query_log is not None:
            self.query_log.close()
        del self.query_log
        self.stores.close()

    def _broker_trouble(self) -> str:
        try:
            self.broker.backlog()
        except BrokerUnavailable as error:
            return str(error)
        return ""

    def _model(self, kind: str, name: str, **options: Any) -> Any:
        try:
            return models.create(
                kind,
                name,
                weights=self.settings.model_dir,
                threads=self.settings.threads,
                **options,
            )
        except ModelError as error:
            raise ConfigurationError(f"the {kind} encoder {name!r}: {error}") from error


def _guarded(call: Callable[..., Any]) -> Callable[..., Any]:
    """A model's method whose errors are the pipeline's, so that serving can do without it."""

    def guarded(*arguments: Any) -> Any:
        try:
            return call(*arguments)
        except ModelError as error:
            raise ConfigurationError(str(error)) from error

    return guarded


# The server writes lines of its own into the same log.
UVICORN = ("uvicorn", "uvicorn.access")

Open = Callable[[], Services]

OPENNESS: Mapping[str, tuple[int, str]] = {
    "all": (logging.WARNING, "the API is open: nobody needs a key (JUSTLENS_OPEN_TO=all)"),
    "loopback": (logging.WARNING, "the API is open to this machine: others need a key"),
    "nobody": (logging.INFO, "everybody needs a key"),
}


def open_services() -> Services:
    """The services of this process, by its settings, and its log."""
    write_log(settings().log_format, taken_over=UVICORN)
    return Services(settings())


# Only for its place in OpenAPI: the door has looked at the key by then.
BEARER = HTTPBearer(auto_error=False, description="A key of `justlens keys make`.")
REFUSALS = problems.problem_responses(
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.MISDIRECTED_REQUEST,
    HTTPStatus.TOO_MANY_REQUESTS,
)


def application(
    title: str,
    description: str,
    routers: Sequence[APIRouter],
    needs: Sequence[str],
    open_services: Open = open_services,
) -> FastAPI:
    """An application with its routes, problem documents, ``/health``, ``/ready``, ``/metrics``.

    Args:
        title: in OpenAPI.
        description: in OpenAPI.
        routers: what it serves.
        needs: dependencies that ``/ready`` looks at.
        open_services: makes what it works with, when it starts.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        services = await run_in_threadpool(open_services)
        app.state.services = services
        log.log(*OPENNESS[services.settings.open_to])
        warming = []
        if "text_encoder" in needs:
            # Made before any request, so that no two of them make it at once.
            await run_in_threadpool(lambda: services.serving)
            if services.query_log is not None:
                services.query_log.start()
            warming.append(asyncio.create_task(run_in_threadpool(services.warm_up)))
        yield
        await asyncio.gather(*warming)
        await run_in_threadpool(services.close)

    app = FastAPI(
        title=title,
        description=description,
        version="1",
        lifespan=lifespan,
        # See ``api.reference``.
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(BEARER)],
    )
    app.state.needs = tuple(needs)
    problems.install(app)
    # A page of businesses is nine times smaller so, and ten times at level 4, which takes four
    # times as long as all else that is done to answer; photos are left as they are.
    app.add_middleware(GZipMiddleware, minimum_size=4096, compresslevel=1)
    # The last one is the outermost.
    app.add_middleware(BodyLimit)
    app.add_middleware(Door)
    app.add_middleware(Cors)
    app.add_middleware(Hosts)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(operations.Metrics)
    app.add_middleware(Correlation)
    for router in (*routers, operations.router):
        app.include_router(router, responses=REFUSALS)
    return app


async def services(request: Request) -> Services:
    """What the application of a request works with."""
    return request.app.state.services


ServicesOf = Annotated[Services, Depends(services)]
