"""What the mock and the proxy have in common as servers: limits on who may ask how much, and how they listen."""
