"""Brings a database file to the schema of this program at start, and refuses one that a newer program made."""

import sqlite3
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import create_engine, event, inspect, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DatabaseError

from broker.errors import StartError

__all__ = ["alembic_config", "migrate"]

_SCRIPTS = Path(__file__).parent / "migrations"


def alembic_config() -> Config:
    """Alembic's settings, without any file."""
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.set_main_option("path_separator", "os")
    return config


def migrate(database: Path) -> None:
    """Create or upgrade the schema. StartError if the file is no database of ours or a newer broker's."""
    engine = create_engine(f"sqlite:///{database}")
    # All of it happens or nothing: left to itself, Python's sqlite3 would commit before every CREATE.
    event.listen(engine, "connect", _manual_transactions)
    event.listen(engine, "begin", _begin)
    try:
        with engine.connect() as connection:
            _refuse_newer(connection, database)
            config = alembic_config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
    except DatabaseError as error:
        raise StartError(f"{database} cannot be used as the broker's database: {error.orig}") from None
    finally:
        engine.dispose()


def _manual_transactions(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _refuse_newer(connection: Connection, database: Path) -> None:
    tables = inspect(connection).get_table_names()
    if "alembic_version" not in tables:
        if tables:
            raise StartError(f"{database} holds another program's tables: name an empty or a broker's own file")
        return
    known = ScriptDirectory.from_config(alembic_config())
    for (revision,) in connection.execute(text("SELECT version_num FROM alembic_version")):
        try:
            known.get_revision(revision)
        except CommandError:
            raise StartError(
                f"{database} has schema {revision}, which a newer broker made: start that version, or restore a backup"
            ) from None
