"""What alembic runs: the steps, on the connection it is given, inside a transaction that is its caller's."""

from alembic import context

from intact.serve.state.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=False,
)
context.run_migrations()
