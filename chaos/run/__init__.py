"""A run from start to verdict: `chaos.run.engine.execute`."""
