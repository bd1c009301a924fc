"""From raw files, or a team's own events, to the distinct valid events of `exp.*`."""
