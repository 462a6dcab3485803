# Two images of one tag: `consent`, the program alone, and `consent-dbt`, the program with dbt and the dbt project.
#
#     docker build --target consent     -t consent .
#     docker build --target consent-dbt -t consent-dbt .
#
# Both run as a user without rights (65532, or any other) on a read-only root; what they write goes to /tmp. Other base
# images, a Go module proxy and a Python package index are build arguments (`make image` passes on those of its environment); none
# of them is left in an image.
ARG GO_IMAGE=golang:1.26-trixie
ARG STATIC_IMAGE=gcr.io/distroless/static-debian13:nonroot
ARG PYTHON_IMAGE=python:3.13-slim-trixie

# The compiler runs on the builder's own platform and compiles for the image's.
FROM --platform=$BUILDPLATFORM ${GO_IMAGE} AS program
WORKDIR /src
ARG GOPROXY
ARG GOSUMDB
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY api api
COPY cmd cmd
COPY dashboard dashboard
COPY internal internal
COPY jobs jobs
COPY operator operator
COPY tools/compile tools/
ARG TARGETOS
ARG TARGETARCH
ARG VERSION
ARG COMMIT
ARG DATE
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOOS=$TARGETOS GOARCH=$TARGETARCH tools/compile /out/consent
# Compressed, because the image consent is small: 20 kB instead of 235.
COPY LICENSE licences/go.txt /out/doc/
RUN gzip -9n /out/doc/go.txt

FROM ${STATIC_IMAGE} AS consent
ARG VERSION
ARG COMMIT
ARG DATE
LABEL org.opencontainers.image.title="consent" \
      org.opencontainers.image.description="Loads files of consent events into Postgres" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}" \
      org.opencontainers.image.created="${DATE}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=program /out/consent /usr/local/bin/consent
COPY --from=program /out/doc /usr/share/doc/consent
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/consent"]

# dbt goes into an environment of its own, which the image takes over without pip.
FROM ${PYTHON_IMAGE} AS dbt
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
COPY tools/requirements.txt /tmp/
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv /opt/consent/.venv && \
    /opt/consent/.venv/bin/python -m pip install --disable-pip-version-check --no-input --require-hashes -r /tmp/requirements.txt && \
    /opt/consent/.venv/bin/python -m pip uninstall --yes --quiet pip

# The folders lie so that the program finds the project and dbt by itself.
FROM ${PYTHON_IMAGE} AS consent-dbt
ARG VERSION
ARG COMMIT
ARG DATE
LABEL org.opencontainers.image.title="consent-dbt" \
      org.opencontainers.image.description="Computes consent metrics in Postgres with dbt" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}" \
      org.opencontainers.image.created="${DATE}" \
      org.opencontainers.image.licenses="Apache-2.0"
# The platform may choose another user, whom /etc/passwd does not have; libraries ask for a name and a home folder.
ENV PATH=/opt/consent/bin:/opt/consent/.venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 HOME=/tmp USER=nonroot
COPY --from=dbt /opt/consent/.venv /opt/consent/.venv
COPY --from=program /out/consent /opt/consent/bin/consent
COPY LICENSE licences /usr/share/doc/consent/
COPY dbt_project /opt/consent/dbt_project
WORKDIR /opt/consent
USER 65532:65532
ENTRYPOINT ["/opt/consent/bin/consent"]
