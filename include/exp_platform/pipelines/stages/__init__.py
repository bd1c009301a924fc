"""One module per stage of the registry: it reads, calls a pure transform, publishes."""
