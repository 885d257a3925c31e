//! How many objects a check looks at. A check that looks at nothing proves nothing.

pub(super) const TABLES: &str = "SELECT count(*) FROM tables WHERE NOT relispartition";
pub(super) const TENANT_TABLES: &str = "SELECT count(*) FROM tables WHERE has_tenant AND NOT relispartition";
pub(super) const WALLED: &str = "SELECT count(*) FROM tables WHERE has_tenant";
pub(super) const PARTITIONS: &str = "SELECT count(*) FROM tables WHERE has_tenant AND relispartition";
pub(super) const PARTITIONED: &str = "SELECT count(DISTINCT family) FROM tables WHERE relispartition";
pub(super) const POLICIES: &str = "SELECT count(*) FROM tables JOIN pg_policy ON polrelid = tables.oid";
pub(super) const VIEWS: &str = "SELECT count(*) FROM pg_class, ours WHERE relnamespace = namespace AND relkind = 'v'";
pub(super) const KEYS: &str =
    "SELECT count(*) FROM tables JOIN pg_index ON indrelid = tables.oid WHERE has_tenant AND indisunique";
pub(super) const INDEXES: &str = "SELECT count(*) FROM tables JOIN pg_index ON indrelid = tables.oid";
pub(super) const CONSTRAINTS: &str = "SELECT count(*) FROM tables JOIN pg_constraint ON conrelid = tables.oid";
pub(super) const FOREIGN_KEYS: &str =
    "SELECT count(*) FROM tables JOIN pg_constraint ON conrelid = tables.oid WHERE contype = 'f'";
pub(super) const COLUMNS: &str =
    "SELECT count(*) FROM tables JOIN pg_attribute ON attrelid = tables.oid AND attnum > 0 AND NOT attisdropped";
pub(super) const TIMES: &str = "SELECT count(*) FROM tables JOIN pg_attribute ON attrelid = tables.oid WHERE attname IN ('created_at', 'updated_at')";
pub(super) const UPDATED_AT: &str =
    "SELECT count(*) FROM tables JOIN pg_attribute ON attrelid = tables.oid WHERE attname = 'updated_at'";
pub(super) const STATUS: &str =
    "SELECT count(*) FROM tables JOIN pg_attribute ON attrelid = tables.oid WHERE attname = 'status'";
pub(super) const LOCK_VERSIONS: &str =
    "SELECT count(*) FROM tables JOIN pg_attribute ON attrelid = tables.oid WHERE attname = 'lock_version'";
pub(super) const TYPES: &str = "SELECT count(*) FROM pg_type, ours WHERE typnamespace = namespace AND typtype <> 'b'";
pub(super) const SEQUENCES: &str = "SELECT count(*) FROM pg_class, ours WHERE relnamespace = namespace AND relkind = 'S' AND NOT starts_with(relname, '__')";
pub(super) const FUNCTIONS: &str = "SELECT count(*) FROM functions";
pub(super) const DEFINERS: &str = "SELECT count(*) FROM functions WHERE prosecdef";
pub(super) const TRIGGER_FUNCTIONS: &str = "SELECT count(*) FROM functions WHERE prorettype = 'trigger'::regtype";
pub(super) const GRANTS: &str = "SELECT count(*) FROM granted";
pub(super) const LOGINS: &str = "SELECT count(*) FROM logins";
pub(super) const ROLES: &str = "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'bedplate\\_%' AND NOT rolcanlogin";
pub(super) const AUDIT_LOGS: &str = "SELECT count(*) FROM tables WHERE relname ~ '^audit_log(_|$)'";
/// The table, not its events: only `bedplate_system` sees them.
pub(super) const EVENTS: &str = "SELECT count(*) FROM tables WHERE relname IN ('events', 'event_tags')";
