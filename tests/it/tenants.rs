//! Tenants: made, found, suspended, closed and deleted by the system.

use bedplate::models::{NewTenant, TenantId, TenantStatus, TenantType};
use bedplate::{Error, TenantContext};
use rstest::rstest;

use crate::support::{IdeaBuilder, TestDatabase, connection, db, execute, home, number, texts};

const ACME: NewTenant<'static> = NewTenant { slug: "acme-1", name: "Acme", tenant_type: TenantType::Enterprise };

#[rstest]
#[tokio::test]
async fn a_tenant_is_created_found_and_sees_itself(#[future(awt)] db: TestDatabase) {
    let tenant = db.system_tx("create", async |tx| tx.tenants().create(ACME).await).await.unwrap();
    assert_eq!((tenant.tenant_type, tenant.status), (TenantType::Enterprise, TenantStatus::Active));
    let (by_id, by_slug, active) = db
        .system_tx("find", async |tx| {
            let tenants = tx.tenants();
            tokio::try_join!(
                tenants.find(tenant.id),
                tenants.find_by_slug("acme-1"),
                tenants.list(TenantStatus::Active)
            )
        })
        .await
        .unwrap();
    assert_eq!((&by_id, &by_slug, &active[..]), (&tenant, &tenant, &[tenant.clone()][..]));
    let itself = db.tenant_tx("self", &TenantContext::new(tenant.id), async |tx| tx.tenant().await).await.unwrap();
    assert_eq!(itself, tenant);
    let id = TenantId::new();
    let nobody = db.tenant_tx("nobody", &TenantContext::new(id), async |tx| tx.tenant().await).await.unwrap_err();
    assert_eq!(nobody.to_string(), format!("tenant {id} does not exist"));
    let unknown = db.system_tx("find", async |tx| tx.tenants().find_by_slug("none").await).await.unwrap_err();
    assert_eq!(unknown.to_string(), "tenant none does not exist");
}

#[rstest]
#[case("", "Acme", "slug is empty")]
#[case("Not A Label", "Acme", "slug is not allowed (tenants_slug_check)")]
#[case("acme", " ", "name is empty")]
#[tokio::test]
async fn bad_input_is_refused(
    #[future(awt)] db: TestDatabase,
    #[case] slug: &'static str,
    #[case] name: &'static str,
    #[case] message: &str,
) {
    let new = NewTenant { slug, name, tenant_type: TenantType::Standard };
    let error = db.system_tx("create", async |tx| tx.tenants().create(new).await).await.unwrap_err();
    assert_eq!(error.to_string(), message);
}

#[rstest]
#[tokio::test]
async fn a_slug_is_taken_once(#[future(awt)] db: TestDatabase) {
    db.system_tx("create", async |tx| tx.tenants().create(ACME).await).await.unwrap();
    let error = db.system_tx("create", async |tx| tx.tenants().create(ACME).await).await.unwrap_err();
    assert!(matches!(error, Error::Conflict { field, .. } if field == "slug"));
}

#[rstest]
#[tokio::test]
async fn a_closed_tenant_is_deleted_with_everything_it_has(#[future(awt)] db: TestDatabase) {
    let (home, neighbour) = (home(&db).await, home(&db).await);
    IdeaBuilder::new(&home).completed(&db, 50.0).await;
    IdeaBuilder::new(&neighbour).create(&db).await;
    let delete = async || db.system_tx("delete", async |tx| tx.tenants().delete(home.tenant).await).await;
    let error = delete().await.unwrap_err();
    assert_eq!(error.to_string(), format!("tenant {} is active: delete is not possible", home.tenant));
    let closed = db
        .system_tx("close", async |tx| tx.tenants().set_status(home.tenant, TenantStatus::Closed).await)
        .await
        .unwrap();
    assert_eq!(closed.status, TenantStatus::Closed);
    delete().await.unwrap();
    assert!(matches!(delete().await, Err(Error::NotFound { .. })));
    let unknown =
        db.system_tx("close", async |tx| tx.tenants().set_status(home.tenant, TenantStatus::Closed).await).await;
    assert!(matches!(unknown, Err(Error::NotFound { .. })));
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system").await;
    let tables =
        // What was done is told also of a tenant that is gone.
        texts(
            &mut owner,
            "SELECT relname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attname = 'tenant_id' \
              WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname !~ '^audit_log'",
        )
        .await;
    assert!(tables.len() >= 6);
    for table in tables {
        let left =
            number(&mut owner, &format!("SELECT count(*) FROM {table} WHERE tenant_id = '{}'", home.tenant)).await;
        assert_eq!(left, 0, "{table}");
    }
    assert_eq!(number(&mut owner, "SELECT count(*) FROM business_ideas").await, 1, "the neighbour's is there");
}

#[rstest]
#[tokio::test]
async fn a_tenant_cannot_change_itself(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let mut app = connection(db.config().url()).await;
    execute(&mut app, &format!("SET ROLE bedplate_app; SET app.tenant_id = '{}'", home.tenant)).await;
    let update =
        diesel_async::SimpleAsyncConnection::batch_execute(&mut app, "UPDATE tenants SET type = 'enterprise'").await;
    assert!(matches!(update.map_err(Error::from), Err(Error::Forbidden { .. })));
}
