"""Whether a store's database holds the tables, indexes and triggers that efface makes, and nothing else."""

import re
from functools import cache

from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import StaticPool

from efface.errors import shorten
from efface.store.database import APPLICATION, FORMAT, TRIGGERS, Database, metadata

PURPOSES = {"trigger": ", which refuses changes"}  # what a part is for that is not plain from its kind


def schema_faults(database: Database) -> list[str]:
    """What of a database's schema is missing, was changed or was put in, one line each."""
    with database.reading() as connection:
        found = _parts(connection)
        numbers = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("application_id", "user_version")]
    expected, problems = _expected(), []
    for part, text in expected.items():
        kind, name = part
        if part not in found:
            problems.append(f"the {kind} {name} is missing{PURPOSES.get(kind, '')}")
        elif found[part] != text:
            problems.append(f"the {kind} {name} was changed{PURPOSES.get(kind, '')}")
    problems += [
        f"holds the {kind} {shorten([name])} that is none of the store's" for kind, name in found.keys() - expected
    ]
    if numbers != [APPLICATION, FORMAT]:
        problems.append(f"its application_id and user_version are {numbers}, not {[APPLICATION, FORMAT]}")
    return [f"{database.path.name}: {line}" for line in sorted(problems)]


@cache
def _expected() -> dict[tuple[str, str], str]:
    """What an empty store has, from the same statements that make one."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    try:
        with engine.begin() as connection:
            metadata.create_all(connection)
            for trigger in TRIGGERS.values():
                connection.exec_driver_sql(trigger)
            return _parts(connection)
    finally:
        engine.dispose()


def _parts(connection: Connection) -> dict[tuple[str, str], str]:
    """The statement that made each table, index, trigger and view, by its kind and name."""
    rows = connection.exec_driver_sql("SELECT type, name, tbl_name, sql FROM sqlite_master").all()
    return {(str(kind), str(name)): f"{table}: {_normalised(str(sql))}" for kind, name, table, sql in rows}


def _normalised(statement: str) -> str:
    """A statement without what differs between versions of the libraries that write it."""
    return re.sub(r'[\s"`]+', "", statement).lower()
