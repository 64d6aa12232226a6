"""The service: scenes on disk answered over HTTP (extra `serve`), and the viewer (extra `view`)."""
