//! Closed lists of this project's catalogue, both ways: the doctor knows the rules, and these are the exceptions that the
//! schema's list has.

use bedplate::database::DatabaseName::{self, Main, Marketdata, Rfq};
use rstest::rstest;

use crate::catalogue::{TABLES, WITHOUT_POLICIES, exactly, least, none, set};
use crate::support::{TestDatabase, connection, db, migrated, texts};

/// Tables without a tenant. Each has its reason in the schema's list.
const WITHOUT_TENANT: [&str; 3] = ["outbox_stopped_endpoints", "sessions", "tenants"];

/// Keys without the tenant: the closed list.
const KEYS_WITHOUT_TENANT: [&str; 4] =
    ["outbox_stopped_endpoints_pkey", "sessions_pkey", "tenants_pkey", "tenants_slug_key"];

/// What of a list is in the database: `rfq` has the outbox alone of them.
fn in_database<'l>(of: DatabaseName, list: &'l [&'l str]) -> &'l [&'l str] {
    if of == Rfq { &list[..1] } else { list }
}

#[rstest]
#[tokio::test]
async fn every_tenant_table_is_closed(#[values(Main, Rfq)] of: DatabaseName) {
    let db = migrated(of).await;
    let owner = &mut connection(&db.url).await;
    let tables = set(owner, &format!("SELECT relname FROM ({TABLES}) AS t")).await;
    assert!(tables.len() >= least(of, 7, 3));
    let with_tenant = set(
        owner,
        &format!(
            "SELECT relname FROM ({TABLES}) AS t JOIN pg_attribute AS a ON attrelid = t.oid \
        WHERE attname = 'tenant_id' AND attnotnull AND atttypid = 'uuid'::regtype"
        ),
    )
    .await;
    exactly(&tables.difference(&with_tenant).cloned().collect(), in_database(of, &WITHOUT_TENANT));
    let closed = set(
        owner,
        &format!(
            "SELECT relname FROM ({TABLES}) AS t JOIN pg_class USING (oid, relname) \
        WHERE relrowsecurity AND relforcerowsecurity"
        ),
    )
    .await;
    exactly(&tables.difference(&closed).cloned().collect(), in_database(of, &WITHOUT_POLICIES));
    // A partition is a table of its own, and inherits none of it.
    let partitions = "SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'";
    none(owner, partitions, 5, &format!("{partitions} AND NOT (relrowsecurity AND relforcerowsecurity)")).await;
}

#[rstest]
#[tokio::test]
async fn every_key_starts_with_the_tenant(#[values(Main, Rfq)] of: DatabaseName) {
    let db = migrated(of).await;
    let owner = &mut connection(&db.url).await;
    let unique = "SELECT i.indexrelid::regclass::text AS name, \
            (SELECT attname FROM pg_attribute WHERE attrelid = i.indrelid AND attnum = i.indkey[0]) AS first \
          FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid \
         WHERE i.indisunique AND c.relnamespace = 'public'::regnamespace AND NOT starts_with(c.relname, '__')";
    let all = texts(owner, &format!("SELECT name FROM ({unique}) AS u")).await;
    assert!(all.len() >= least(of, 10, 4), "{all:?}");
    exactly(
        &set(owner, &format!("SELECT name FROM ({unique}) AS u WHERE first <> 'tenant_id'")).await,
        in_database(of, &KEYS_WITHOUT_TENANT),
    );
    none(
        owner,
        "SELECT conname FROM pg_constraint WHERE contype = 'f'",
        least(of, 10, 1),
        "SELECT conname FROM pg_constraint AS c WHERE contype = 'f' AND conparentid = 0 AND \
            (SELECT attname FROM pg_attribute WHERE attrelid = conrelid AND attnum = conkey[1]) <> 'tenant_id'",
    )
    .await;
}

/// SECURITY DEFINER functions belong to the role that owns them, and nothing else does.
#[rstest]
#[tokio::test]
async fn every_definer_function_belongs_to_the_definer(#[values(Main, Rfq, Marketdata)] of: DatabaseName) {
    let db = migrated(of).await;
    let owner = &mut connection(&db.url).await;
    let ours = "SELECT * FROM pg_proc WHERE pronamespace = 'public'::regnamespace";
    let definers = set(owner, &format!("SELECT proname FROM ({ours}) AS f WHERE prosecdef")).await;
    assert_eq!(definers.is_empty(), of == Marketdata);
    let owned = set(
        owner,
        &format!("SELECT proname FROM ({ours}) AS f JOIN pg_roles AS r ON r.oid = proowner WHERE rolname IN ('bedplate_definer', 'bedplate_forms')"),
    )
    .await;
    assert_eq!(definers, owned, "SECURITY DEFINER functions belong to bedplate_definer, and nothing else does");
}

#[rstest]
#[tokio::test]
async fn roles_can_do_no_more_than_they_should(#[future(awt)] db: TestDatabase) {
    let owner = &mut connection(&db.url).await;
    let groups = "SELECT rolname, * FROM pg_roles WHERE rolname IN ('bedplate_app', 'bedplate_system', 'bedplate_session', 'bedplate_definer')";
    assert_eq!(texts(owner, &format!("SELECT oid FROM ({groups}) AS g (name)")).await.len(), 4);
    let strong = format!(
        "SELECT name FROM ({groups}) AS g (name) WHERE rolcanlogin OR rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolinherit"
    );
    exactly(&set(owner, &strong).await, &[]);
    // A lasting member of bedplate_definer that inherits would see every tenant's rows.
    let members = "SELECT member::regrole FROM pg_auth_members WHERE roleid = 'bedplate_definer'::regrole \
        AND coalesce(to_jsonb(pg_auth_members) ->> 'inherit_option', 'true') = 'true'";
    exactly(&set(owner, members).await, &[]);
    let login =
        "SELECT rolname FROM pg_roles WHERE rolname = 'bedplate_login' AND (rolinherit OR rolsuper OR rolbypassrls)";
    exactly(&set(owner, login).await, &[]);
    exactly(
        &set(owner, "SELECT rolname FROM pg_roles WHERE rolname = current_user AND (rolsuper OR rolbypassrls)").await,
        &[],
    );
}
