"""One module per stage of the registry; each reads its inputs, calls a pure transform and publishes."""
