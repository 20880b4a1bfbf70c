# One image for every process of the Procfile. It holds no embedded stores, nodes or models: those belong to a checkout.

FROM python:3.12-slim AS packages
WORKDIR /build
COPY requirements.lock devstack/runtime_lock.py ./
RUN python runtime_lock.py requirements.lock > runtime.lock
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes --no-deps -r runtime.lock \
    && /venv/bin/pip check

FROM python:3.12-slim
RUN useradd --system --uid 10001 --home-dir /app --shell /usr/sbin/nologin lucid \
    && install -d -m 0700 -o lucid /var/cache/lucid
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
ENV LUCID_ENV=production SANDBOX_CACHE=/var/cache/lucid/sandbox PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER lucid
EXPOSE 3001
CMD ["gunicorn", "-c", "web/gunicorn.py", "web.wsgi:app"]
