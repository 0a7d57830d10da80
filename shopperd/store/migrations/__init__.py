"""How an older store becomes one of today: Alembic's steps, run by `shopperd.store.migrate` and by nothing else."""
