"""Generated experiments: users, their events in both worlds, the true effects, and everything that can go wrong."""
