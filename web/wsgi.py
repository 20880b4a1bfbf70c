"""What gunicorn serves. Importing this reads the environment and refuses a wrong schema; the pool opens on first use."""

from __future__ import annotations

from shared.bootstrap import Role, start_from_environment
from web.app import create_app

app = create_app(start_from_environment(Role.WEB))
