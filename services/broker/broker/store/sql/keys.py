"""Statements of keys, owners and usage."""

from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from broker.store.sql.compile import compiled, word
from broker.store.tables import api_keys, job_states, nodes, tombstones, usage_days

j = job_states.c
k = api_keys.c
n = nodes.c
u = usage_days.c
p = bindparam

# ---- keys

KEY_COLUMNS = tuple(column.name for column in k)
KEYS = compiled(select(*k).order_by(k.created_at, k.id))
INSERT_KEY = compiled(insert(api_keys).values({name: p(name) for name in KEY_COLUMNS}))
CHANGE_KEY = compiled(
    update(api_keys)
    .where(k.id == p("key_id"))
    .values(
        secret_hash=p("new_hash"),
        old_hash=p("replaced_hash"),
        old_until=p("replaced_until"),
        expires_at=p("expires"),
        revoked_at=p("revoked"),
        limits=p("new_limits"),
    )
)
TOUCH_KEY = compiled(update(api_keys).where(k.id == p("key_id")).values(last_used_at=p("used")))
# ---- nodes that are put out

EVICT = compiled(
    # No session secret has this hash; a claim that is under way finds another session number.
    update(nodes)
    .where(n.id == p("node"))
    .values(session_hash=p("no_hash"), session_number=n.session_number + 1, lease_until=p("now"))
    .returning(n.session_number)
)

# ---- owners

OWNER_OF = compiled(select(j.owner).where(j.id == p("job_id")))
OWNER_OF_DELETED = compiled(select(tombstones.c.owner).where(tombstones.c.id == p("job_id")))
HOLDINGS = compiled(
    # What each owner has in the broker: jobs that have not ended, how many of them are pending, and bytes.
    select(
        j.owner,
        func.count().filter(j.completed_at.is_(None)),
        func.count().filter(j.status == word("pending")),
        func.coalesce(func.sum(j.stored_bytes), 0),
    )
    .where(j.owner.is_not(None))
    .group_by(j.owner)
)

# ---- usage

_ADDED = ("count", "cpu_seconds", "wall_seconds", "memory_mb_seconds", "bytes_in", "bytes_out")
METER = compiled(
    upsert(usage_days)
    .values(day=p("day"), owner=p("owner"), outcome=p("outcome"), **{name: p(name) for name in _ADDED})
    .on_conflict_do_update(
        index_elements=["day", "owner", "outcome"],
        set_={name: u[name] + p(name) for name in _ADDED},
    )
)
USAGE_COLUMNS = tuple(column.name for column in u)
USAGE = compiled(select(*u).where(u.day >= p("first"), u.day <= p("last")).order_by(u.day, u.owner, u.outcome))
USAGE_OF = compiled(
    select(*u).where(u.day >= p("first"), u.day <= p("last"), u.owner == p("owner")).order_by(u.day, u.outcome)
)
