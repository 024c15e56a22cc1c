# The service as an image: docker build -t scheduler-service .  (docs/docker.md)
# BASE may be any Debian with python3 (3.11 to 3.14), its venv module and ca-certificates. The digest is that of all its platforms.
ARG BASE=docker.io/library/python:3.13.15-slim-bookworm@sha256:ed86c82274b3c69b52fb5820f358f0bd7df0b603332063cb5c6e32bd220c3e6e

FROM ${BASE} AS build
WORKDIR /build
RUN python3 -m venv /opt/scheduler-service
ENV PATH=/opt/scheduler-service/bin:$PATH
COPY requirements/runtime.txt ./
# The secrets are optional: how to reach a package index of one's own. They stay in no layer.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.crt \
    pip install --no-cache-dir --no-compile --only-binary :all: --require-hashes -r runtime.txt
COPY pyproject.toml README.md ./
COPY scheduler_service scheduler_service
# What builds is not needed to run. Bytecode is made once, here: at run time the root is read-only.
RUN pip install --no-cache-dir --no-compile --no-index --no-deps --no-build-isolation . \
    && pip uninstall --quiet --yes hatchling packaging pathspec pluggy tomlkit trove-classifiers setuptools pip \
    && python -m compileall -q --invalidation-mode unchecked-hash /opt/scheduler-service/lib

FROM ${BASE}
LABEL org.opencontainers.image.title="scheduler-service" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.description="Keeps the news, earnings and fundamentals of a stock watchlist fresh, on schedule, with every number traceable to its source"
RUN rm -rf /usr/local/lib/python3.*/ensurepip /usr/local/lib/python3.*/site-packages/pip* /usr/local/bin/pip* \
    && useradd --uid 10001 --user-group --no-create-home --home-dir /data --shell /usr/sbin/nologin scheduler \
    && install --directory --owner 10001 --group 10001 --mode 0700 /data \
    && install --directory /config
COPY --from=build /opt/scheduler-service /opt/scheduler-service
# The port is reached from outside the container, so it needs a token: the service makes one in /data.
ENV PATH=/opt/scheduler-service/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    STATE_DIRECTORY=/data \
    SCHEDULER_HTTP__HOST=0.0.0.0 \
    SCHEDULER_HTTP__TOKEN_FILE=/data/http_token
# From here ./config/scheduler.yaml is /config/scheduler.yaml; without it the packaged sandbox runs.
WORKDIR /
USER 10001:10001
VOLUME /data
EXPOSE 8321
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["scheduler-service", "status", "--ready"]
ENTRYPOINT ["scheduler-service"]
CMD ["run"]
