# rtcpeer in a container: `docker run IMAGE mock …`, `docker run IMAGE join …`. CONTRIBUTING.md says how to build it behind
# a proxy that has its own certificate authority.
FROM python:3.11-slim-bookworm AS build
WORKDIR /build
# Filled from outside: pip itself is not part of what runs.
RUN python -m venv --without-pip /opt/rtcpeer
ENV PIP_PYTHON=/opt/rtcpeer/bin/python PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

# The dependencies are a layer of their own: a change of the sources does not fetch them again.
COPY pyproject.toml requirements.lock ./
RUN python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' > runtime.txt \
    && pip install --constraint requirements.lock --requirement runtime.txt

COPY README.md LICENSE ./
COPY rtcpeer rtcpeer
COPY signaling signaling
RUN pip install --no-deps . && pip check


FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="rtcpeer" \
      org.opencontainers.image.description="A headless WebRTC voice peer for realtime AI sessions, and a mock of the other end" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/rtcpeer /opt/rtcpeer
COPY docker/healthcheck.py /opt/rtcpeer/healthcheck.py
# A user by number, so that Kubernetes' runAsNonRoot can see that it is not root; /calls is where recordings go.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /calls rtcpeer \
    && install --directory --owner=rtcpeer --group=rtcpeer /calls
ENV PATH=/opt/rtcpeer/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /calls
USER 10001:10001
# The HTTP side. Media is UDP on ports of the kernel's choice: run with --network host, or see --udp-ports, --advertise-ip.
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["python", "/opt/rtcpeer/healthcheck.py"]
ENTRYPOINT ["rtcpeer"]
CMD ["--help"]
