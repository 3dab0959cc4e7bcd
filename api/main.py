"""All applications in one process, and the page for people: ``uvicorn api.main:app``."""

from fastapi import FastAPI

from api import (
    alt_texts,
    alt_texts_page,
    catalogue,
    dead_letters,
    events,
    html,
    ingest,
    operations_page,
    overview,
    page,
    pictures,
    reference,
    relevancy,
    retraining_page,
    sign_in,
    upload,
)
from api.wiring import Open, application, open_services


def create(open_services: Open = open_services) -> FastAPI:
    """The application that serves everything."""
    app = application(
        "JustLens",
        "Chooses, improves and describes the pictures of a business directory.",
        [
            ingest.router,
            dead_letters.router,
            overview.router,
            relevancy.router,
            events.router,
            catalogue.router,
            alt_texts.router,
            pictures.router,
            page.router,
            operations_page.router,
            alt_texts_page.router,
            retraining_page.router,
            upload.router,
            sign_in.router,
            reference.router,
        ],
        sorted({*ingest.NEEDS, *relevancy.NEEDS, *catalogue.NEEDS, *alt_texts.NEEDS}),
        open_services,
    )
    app.mount("/static", html.static_files(), name="static")
    return app


app = create()
