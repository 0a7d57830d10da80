"""Pebble, a marketplace that nobody has ever rented from: the worked example of docs/providers.md.

`plug_in` is what its author would write and publish, `marketplace` a pretend Pebble to test it against.
"""
