"""The whole daemon in virtual time over the pretend world: one seed decides everything, and oracles judge the world's ledger."""
