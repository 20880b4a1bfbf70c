"""The floor of a web process: Flask that answers one constant, under the same gunicorn settings."""

from __future__ import annotations

from flask import Flask

app = Flask("hello")


@app.get("/")
def hello() -> dict[str, str]:
    """Say hello."""
    return {"hello": "world"}
