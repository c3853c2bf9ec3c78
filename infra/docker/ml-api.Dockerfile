FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --package ml-api && cp target/release/ml-api /ml-api

FROM debian:bookworm-slim
COPY --from=build /ml-api /usr/local/bin/ml-api
USER 65534:65534
EXPOSE 8000
ENTRYPOINT ["ml-api"]
CMD ["--listen", "0.0.0.0:8000"]
