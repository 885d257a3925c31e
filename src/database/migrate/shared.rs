//! What all databases of a server share, as a session sees it.

use std::collections::HashSet;

use super::session::Session;

/// What all databases share, as lines. The scratch database's own entries, as its settings, are gone with it.
///
/// A password is hidden from everybody but superusers: its change is known by the lock on the catalogue of roles. A
/// foreign table may lead to another server: writing to it is known by the lock too.
const SHARED: &str = "\
    WITH own AS (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) \
    SELECT 'role ' || rolname || ': ' || (to_jsonb(r) - 'rolpassword')::text FROM pg_catalog.pg_roles AS r \
    UNION ALL \
    SELECT 'member ' || to_jsonb(m)::text FROM pg_catalog.pg_auth_members AS m \
    UNION ALL \
    SELECT 'setting ' || to_jsonb(s)::text FROM pg_catalog.pg_db_role_setting AS s \
     WHERE setdatabase NOT IN (SELECT oid FROM own) \
    UNION ALL \
    SELECT 'database ' || (to_jsonb(d) - '{datfrozenxid,datminmxid}'::text[])::text FROM pg_catalog.pg_database AS d \
     WHERE oid NOT IN (SELECT oid FROM own) \
    UNION ALL \
    SELECT 'tablespace ' || to_jsonb(t)::text FROM pg_catalog.pg_tablespace AS t \
    UNION ALL \
    SELECT 'description ' || to_jsonb(d)::text FROM pg_catalog.pg_shdescription AS d \
     WHERE (classoid, objoid) NOT IN (SELECT 'pg_catalog.pg_database'::regclass, oid FROM own) \
    UNION ALL \
    SELECT 'label ' || to_jsonb(l)::text FROM pg_catalog.pg_shseclabel AS l \
     WHERE (classoid, objoid) NOT IN (SELECT 'pg_catalog.pg_database'::regclass, oid FROM own) \
    UNION ALL \
    SELECT 'parameter ' || to_jsonb(p)::text FROM pg_catalog.pg_parameter_acl AS p \
    UNION ALL \
    SELECT 'slot ' || slot_name || concat(plugin, slot_type, database) FROM pg_catalog.pg_replication_slots \
    UNION ALL \
    SELECT 'origin ' || roname FROM pg_catalog.pg_replication_origin \
    UNION ALL \
    SELECT 'subscription ' || concat_ws(' ', oid, subname, subowner, subenabled) FROM pg_catalog.pg_subscription \
    UNION ALL \
    SELECT 'password of a role' FROM pg_catalog.pg_locks \
     WHERE pid = pg_backend_pid() AND relation = 'pg_catalog.pg_authid'::regclass AND mode = 'RowExclusiveLock' \
    UNION ALL \
    SELECT 'foreign table ' || c.relname FROM pg_catalog.pg_locks AS l JOIN pg_catalog.pg_class AS c ON c.oid = l.relation \
     WHERE l.pid = pg_backend_pid() AND c.relkind = 'f' AND l.mode = 'RowExclusiveLock'";

/// One line an object, without passwords.
pub(super) async fn lines(session: &Session) -> Result<HashSet<String>, tokio_postgres::Error> {
    let rows = session.try_rows(SHARED).await?;
    Ok(rows.iter().filter_map(|row| row.get(0)).map(str::to_owned).collect())
}
