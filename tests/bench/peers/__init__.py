"""The peers' own code at the same work, each in an environment of its own, from the lock files of the client tests."""
