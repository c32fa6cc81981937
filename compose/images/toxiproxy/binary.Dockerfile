# The second stage of Dockerfile, around a static binary that was built outside of Docker.
# scripts/docker-here uses it where no image registry can be reached.
FROM scratch
COPY server /toxiproxy
USER 65534:65534
EXPOSE 8474
ENTRYPOINT ["/toxiproxy"]
CMD ["-host=0.0.0.0"]
