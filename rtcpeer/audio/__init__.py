"""Audio between the wire and the user: codec, jitter buffer, resampling, sources, sinks, recording."""
