"""The links: one codec's messages and one call's audio over one transport, and the clock that drives them."""
