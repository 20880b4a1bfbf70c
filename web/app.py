"""The web process as one Flask application: three doors, one way in, one way errors go out."""

from __future__ import annotations

from flask import Flask

from shared.bootstrap import Container
from web import agent, documents, gateway, intake, pipelines, problems
from web.context import EXTENSION, Edge
from web.cors import Cors
from web.exact_json import ExactJson


def create_app(container: Container) -> Flask:
    """Return the application. Opens no connection."""
    app = Flask("web", static_folder=None, template_folder="documents")
    app.json = ExactJson(app)
    app.url_map.merge_slashes = False  # a redirect would answer in HTML
    app.extensions[EXTENSION] = Edge(
        container=container,
        idempotency=container.idempotency,
        cors=Cors(container.settings.cors_origins),
    )
    container.warm()
    intake.register(app)
    problems.register(app)
    doors = {
        documents.AGENT: agent.register(app),
        documents.GATEWAY: gateway.register(app),
        documents.VERIFICATION: pipelines.register(app),
    }
    documents.register(app, doors)
    return app
