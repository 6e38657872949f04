# The gateway alone: no simulators, no compilers, no root.
FROM python:3.12-slim-bookworm AS build
WORKDIR /src
COPY requirements/product.txt requirements/product.txt
RUN python -m venv /opt/kuzet && \
    /opt/kuzet/bin/pip install --no-cache-dir --require-hashes -r requirements/product.txt
COPY pyproject.toml README.md ./
COPY gateway gateway
COPY adapters adapters
RUN /opt/kuzet/bin/pip install --no-cache-dir --no-deps .

FROM python:3.12-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /var/lib/kuzet --create-home kuzet && \
    install -d -o kuzet -g kuzet -m 0750 /etc/kuzet
COPY --from=build /opt/kuzet /opt/kuzet
ENV PATH=/opt/kuzet/bin:$PATH PYTHONUNBUFFERED=1
USER kuzet
WORKDIR /etc/kuzet
VOLUME /var/lib/kuzet
EXPOSE 8080
# Readiness would take the container down with its journal's disk; alive is what Docker asks for.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD \
    ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["kuzet"]
CMD ["run", "-c", "/etc/kuzet/gateway.toml"]
