# The service with its maps and exported networks, without torch.
#
#   docker build -t camloc .
#   docker run --rm -p 8000:8000 -v "$PWD/runs:/runs:ro" -e CAMLOC_API_KEY=... camloc
#
# Other commands: docker run --rm -v "$PWD:/data" camloc locate /data/runs/kitchen /data/photo.jpg
FROM python:3.13-slim

# What the wheel of pycolmap links to.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libgomp1 libgl1 libglib2.0-0 \
 && rm -rf /var/lib/apt/lists/*

COPY pyproject.toml README.md LICENSE /src/
COPY src /src/src
RUN pip install --no-cache-dir "/src[serve,video,heif]" && rm -r /src

RUN useradd --create-home camloc
USER camloc
EXPOSE 8000
ENTRYPOINT ["camloc"]
CMD ["serve", "/runs", "--host", "0.0.0.0"]
