"""Ingest: turn raw files, or a team's own events, into the distinct valid events of `exp.*`."""
