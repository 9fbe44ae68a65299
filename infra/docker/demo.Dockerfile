# `make demo` in a container, with a real RabbitMQ:
#   docker build -f infra/docker/demo.Dockerfile -t unstick-demo . && docker run --rm --init -t unstick-demo
FROM python:3.13-bookworm
RUN apt-get update && apt-get install -y --no-install-recommends rabbitmq-server && rm -rf /var/lib/apt/lists/*
WORKDIR /unstick
COPY . .
RUN make setup
CMD ["make", "demo"]
