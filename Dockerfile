# What is in the image, how it is built, pinned and run: docs/admin/image.md.
# Both bases may be others, by name or by digest (name:tag@sha256:...); docs/admin/image.md says how to pin them. The two have to be of one Debian release and have one minor version of Python.
ARG BUILD_BASE=docker.io/library/python:3.13-slim-trixie
ARG BASE=gcr.io/distroless/python3-debian13:nonroot

FROM ${BUILD_BASE} AS build
WORKDIR /build
COPY requirements.lock requirements-image.lock ./
# The secret is optional: settings of a package index of one's own. It stays out of every layer.
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_COMPILE=0 PYTHONDONTWRITEBYTECODE=1
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    for part in broker:requirements.lock tools:requirements-image.lock; do \
        python3 -m venv --without-pip "/opt/${part%:*}" \
        && python3 -m pip --python "/opt/${part%:*}/bin/python3" install --require-hashes --only-binary :all: -r "${part#*:}" \
        || exit 1; \
    done
COPY pyproject.toml ./
COPY broker broker
RUN python3 -m pip --python /opt/tools/bin/python3 wheel --no-index --no-deps --no-build-isolation --wheel-dir dist . \
    && python3 -m pip --python /opt/broker/bin/python3 install --no-index --no-deps dist/*.whl \
    && /opt/tools/bin/cyclonedx-py environment --output-reproducible --output-file /opt/broker/sbom.cdx.json /opt/broker/bin/python3 \
    # From here on it belongs to the other base's Python.
    && ln -sf /usr/bin/python3 /opt/broker/bin/python3 \
    && sed -i 's|^home = .*|home = /usr/bin|' /opt/broker/pyvenv.cfg

FROM ${BASE}
ARG BASE
ARG REVISION=unknown
LABEL org.opencontainers.image.title="comm100-sso-broker" \
      org.opencontainers.image.description="Signs Comm100 agents in with any OpenID Connect provider, by Comm100's JWT single sign-on." \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}"
ENV PATH=/opt/broker/bin:/usr/bin:/bin LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
COPY --from=build /opt/broker /opt/broker
# Python's own library too: the base brings it as text only, and with a read-only root it would be compiled anew at every start.
USER 0:0
RUN ["/opt/broker/bin/python3", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "/usr/lib", "/opt/broker/lib"]
USER 65532:65532
WORKDIR /etc/broker
EXPOSE 8000 9000
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/broker/bin/broker"]
CMD ["serve"]
