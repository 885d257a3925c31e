//! API keys: issued, used, rotated, revoked; and everything that is refused.

use std::time::Duration;

use bedplate::models::{
    ApiKey, ApiKeyFilter, ApiKeyId, ApiKeySecret, NewApiKey, PageRequest, TenantStatus, UserChanges, UserId, UserStatus,
};
use bedplate::{Database, Error};
use chrono::{TimeDelta, Utc};
use rstest::rstest;
use secrecy::{ExposeSecret as _, SecretString};

use crate::support::database::config;
use crate::support::{Home, TestDatabase, connection, db, execute, home, number, organization, texts, until, user};

fn new_key(user_id: UserId) -> NewApiKey<'static> {
    NewApiKey { user_id, organization_id: None, name: "Import", scopes: &["ideas:read"], expires_at: None }
}

async fn issue(db: &Database, home: &Home, new: NewApiKey<'_>) -> (ApiKey, SecretString) {
    let (key, secret) = db.tenant_tx("issue", &home.context, async |tx| tx.api_keys().create(new).await).await.unwrap();
    (key, secret.reveal())
}

async fn system(db: &TestDatabase, sql: &str) {
    execute(&mut connection(&db.url).await, &format!("SET ROLE bedplate_system; {sql}")).await;
}

#[rstest]
#[tokio::test]
async fn a_key_signs_in_and_is_stored_nowhere(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let (key, secret) = issue(&db, &home, new_key(home.user)).await;
    let found = db.authenticate_key(&secret).await.unwrap();
    assert_eq!((found.id, found.tenant_id, found.user_id), (key.id, home.tenant, home.user));
    assert!(found.require_scope("ideas:read").is_ok());
    assert!(matches!(found.require_scope("ideas:write"), Err(Error::Forbidden { .. })));
    let text = secret.expose_secret();
    assert!(text.starts_with(&key.prefix) && text.len() > 80, "{}", key.prefix);
    let random = &text[key.prefix.len() + 1..];
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system").await;
    for table in ["api_keys", "audit_log"] {
        let rows = texts(&mut owner, &format!("SELECT t::text FROM {table} AS t")).await.concat();
        assert!(!rows.contains(&random[43..]), "{table}");
    }
    // Nor is the hash in the log.
    let hash = texts(&mut owner, "SELECT encode(key_hash, 'hex') FROM api_keys").await.remove(0);
    assert_eq!(
        number(&mut owner, &format!("SELECT count(*) FROM audit_log AS l WHERE l::text LIKE '%{hash}%'")).await,
        0
    );
    assert!(!format!("{found:?}").contains(random) && !serde_json::to_string(&found).unwrap().contains("hash"));
}

/// A key that was made up, and one whose checksum is right but whose secret, id or tenant is not.
#[rstest]
#[tokio::test]
async fn a_wrong_key_is_refused(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let (_, secret) = issue(&db, &home, new_key(home.user)).await;
    let text = secret.expose_secret();
    for wrong in [
        "",
        "bp_",
        "bp_1_2",
        "nonsense",
        &text[1..],
        &text[..text.len() - 1],
        &format!("{text}A"),
        &text.to_uppercase(),
    ] {
        assert!(matches!(db.authenticate_key(&wrong.into()).await, Err(Error::Unauthenticated)), "{wrong}");
    }
    for at in [16, 31, 63] {
        assert!(matches!(db.authenticate_key(&forged(text, at)).await, Err(Error::Unauthenticated)), "byte {at}");
    }
}

/// A malformed key never reaches the database: there is none here.
#[rstest]
#[tokio::test]
async fn a_malformed_key_is_refused_without_the_database(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let (_, secret) = issue(&db, &home, new_key(home.user)).await;
    let mut one = config(&db.url);
    one.pool.max_size = 1;
    one.pool.wait = Duration::from_millis(1);
    let busy = Database::connect(one).await.unwrap();
    let mistyped: SecretString = format!("{}A", &secret.expose_secret()[..secret.expose_secret().len() - 1]).into();
    let mistyped =
        if mistyped.expose_secret() == secret.expose_secret() { "bp_00000000_AAAA".into() } else { mistyped };
    busy.tenant_tx("hold", &home.context, async |_tx| {
        // The only connection is taken: whoever needs one does not get it.
        assert!(matches!(busy.authenticate_key(&secret).await, Err(Error::Timeout { .. })));
        assert!(matches!(busy.authenticate_key(&mistyped).await, Err(Error::Unauthenticated)));
        Ok(())
    })
    .await
    .unwrap();
}

/// The same key with one byte of its body changed, and the checksum made right again.
fn forged(text: &str, at: usize) -> SecretString {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
    use sha2::Digest as _;
    let (start, payload) = text.rsplit_once('_').map_or(("", text), |_| text.split_at(12));
    let mut bytes = BASE64.decode(payload).unwrap();
    bytes[at] ^= 1;
    let checksum = sha2::Sha256::digest(&bytes[..64]);
    bytes[64..].copy_from_slice(&checksum[..4]);
    // The label is that of the id's last bytes.
    let label = format!("{:08x}", u32::from_be_bytes(bytes[28..32].try_into().unwrap()));
    assert_eq!(start.len(), 12);
    let forged: SecretString = format!("bp_{label}_{}", BASE64.encode(bytes)).into();
    ApiKeySecret::parse(&forged).expect("well formed");
    forged
}

#[rstest]
#[case::revoked("UPDATE api_keys SET revoked_at = now()")]
#[case::expired("UPDATE api_keys SET expires_at = now()")]
#[case::of_a_suspended_user("UPDATE users SET status = 'suspended'")]
#[case::of_a_suspended_tenant("UPDATE tenants SET status = 'suspended'")]
#[tokio::test]
async fn a_key_that_no_longer_counts_is_refused(#[future(awt)] db: TestDatabase, #[case] change: &str) {
    let home = home(&db).await;
    let (_, secret) = issue(&db, &home, new_key(home.user)).await;
    db.authenticate_key(&secret).await.unwrap();
    system(&db, change).await;
    assert!(matches!(db.authenticate_key(&secret).await, Err(Error::Unauthenticated)));
}

#[rstest]
#[tokio::test]
async fn a_key_of_an_organization_outlives_its_maker_and_not_the_organization(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let lab = organization(&db, &home, "lab").await;
    let ada = user(&db, &home, "ada").await;
    let (_, secret) = issue(&db, &home, NewApiKey { organization_id: Some(lab.id), ..new_key(ada) }).await;
    db.tenant_tx("delete", &home.context, async |tx| tx.users().delete(ada).await).await.unwrap();
    db.authenticate_key(&secret).await.unwrap();
    db.tenant_tx("delete", &home.context, async |tx| tx.organizations().delete(lab.id).await).await.unwrap();
    assert!(matches!(db.authenticate_key(&secret).await, Err(Error::Unauthenticated)));
}

#[rstest]
#[tokio::test]
async fn passwords_of_a_suspended_tenant_are_refused(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    db.system_tx("suspend", async |tx| tx.tenants().set_status(home.tenant, TenantStatus::Suspended).await)
        .await
        .unwrap();
    let signed_in =
        db.authenticate(&home.context, "owner@example.com", &crate::support::builders::PASSWORD.into()).await;
    assert!(matches!(signed_in, Err(Error::Unauthenticated)));
}

/// The use is written by a task of its own; a second use within a minute writes nothing.
#[rstest]
#[tokio::test]
async fn the_use_of_a_key_is_written_once_a_minute(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let (key, secret) = issue(&db, &home, new_key(home.user)).await;
    assert_eq!(key.last_used_at, None);
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system").await;
    for _ in 0..20 {
        db.authenticate_key(&secret).await.unwrap();
    }
    until(&mut owner, "SELECT count(*) FROM api_keys WHERE last_used_at IS NOT NULL").await;
    for _ in 0..20 {
        db.authenticate_key(&secret).await.unwrap();
    }
    let uses = "SELECT count(*) FROM audit_log WHERE entity_type = 'api_keys' AND new_value ? 'last_used_at' AND action = 'update'";
    assert_eq!(number(&mut owner, uses).await, 1);
    execute(&mut owner, "UPDATE api_keys SET last_used_at = now() - interval '61 seconds'").await;
    db.authenticate_key(&secret).await.unwrap();
    until(&mut owner, "SELECT count(*) FROM api_keys WHERE last_used_at > now() - interval '30 seconds'").await;
}

#[rstest]
#[tokio::test]
async fn a_rotated_key_works_until_its_grace_ends(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let end = Utc::now() + TimeDelta::days(30);
    let (old, old_secret) = issue(&db, &home, NewApiKey { expires_at: Some(end), ..new_key(home.user) }).await;
    let rotate = async |id: ApiKeyId, grace: Duration| {
        db.tenant_tx("rotate", &home.context, async |tx| tx.api_keys().rotate(id, grace).await).await
    };
    let (new, new_secret) = rotate(old.id, Duration::from_hours(1)).await.unwrap();
    assert_eq!((&new.name, &new.scopes, new.user_id), (&old.name, &old.scopes, old.user_id));
    assert_eq!(new.expires_at, old.expires_at);
    db.authenticate_key(&old_secret).await.unwrap();
    assert_eq!(db.authenticate_key(&new_secret.reveal()).await.unwrap().id, new.id);
    let old_row = db.tenant_tx("find", &home.context, async |tx| tx.api_keys().find(old.id).await).await.unwrap();
    assert_eq!(old_row.replaced_by, Some(new.id));
    let grace = old_row.expires_at.unwrap() - Utc::now();
    assert!(grace > TimeDelta::minutes(59) && grace <= TimeDelta::minutes(60), "{grace}");
    let again = rotate(old.id, Duration::ZERO).await.unwrap_err();
    assert!(matches!(&again, Error::WrongState { state, .. } if state == "rotated"), "{again:?}");
    // Without grace the old one ends at once; a grace does not make a key live longer.
    let (newest, _) = rotate(new.id, Duration::ZERO).await.unwrap();
    assert!(matches!(db.authenticate_key(&new_secret.reveal()).await, Err(Error::Unauthenticated)));
    let (_, _) = rotate(newest.id, Duration::from_hours(24 * 365)).await.unwrap();
    let row = db.tenant_tx("find", &home.context, async |tx| tx.api_keys().find(newest.id).await).await.unwrap();
    assert_eq!(row.expires_at, old.expires_at);
}

#[rstest]
#[tokio::test]
async fn what_cannot_be_rotated_says_why(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let rotate = async |id: ApiKeyId| {
        db.tenant_tx("rotate", &home.context, async |tx| tx.api_keys().rotate(id, Duration::ZERO).await)
            .await
            .unwrap_err()
    };
    assert!(matches!(rotate(ApiKeyId::new()).await, Error::NotFound { .. }));
    let (key, _) = issue(&db, &home, new_key(home.user)).await;
    let revoke = async || db.tenant_tx("revoke", &home.context, async |tx| tx.api_keys().revoke(key.id).await).await;
    let revoked = revoke().await.unwrap();
    assert_eq!(revoke().await.unwrap(), revoked, "a second time changes nothing");
    assert!(matches!(rotate(key.id).await, Error::WrongState { state, .. } if state == "revoked"));
    let (key, _) = issue(&db, &home, new_key(home.user)).await;
    system(&db, &format!("UPDATE api_keys SET expires_at = now() WHERE id = '{}'", key.id)).await;
    assert!(matches!(rotate(key.id).await, Error::WrongState { state, .. } if state == "expired"));
    let missing = db.tenant_tx("revoke", &home.context, async |tx| tx.api_keys().revoke(ApiKeyId::new()).await).await;
    assert!(matches!(missing, Err(Error::NotFound { .. })));
}

#[rstest]
#[tokio::test]
async fn bad_keys_are_not_issued(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let refused = async |new: NewApiKey<'_>| {
        let issued = db.tenant_tx("issue", &home.context, async |tx| tx.api_keys().create(new).await).await;
        issued.unwrap_err().to_string()
    };
    let new = new_key(home.user);
    assert_eq!(refused(NewApiKey { name: " ", ..new }).await, "name is empty");
    assert_eq!(
        refused(NewApiKey { scopes: &["Ideas Read"], ..new }).await,
        "scopes cannot be \"Ideas Read\": write ideas:read"
    );
    assert_eq!(refused(NewApiKey { expires_at: Some(Utc::now()), ..new }).await, "expires_at is in the past");
    assert_eq!(refused(new_key(UserId::new())).await, "user_id refers to a row that does not exist");
    let nowhere = NewApiKey { organization_id: Some(bedplate::models::OrganizationId::new()), ..new };
    assert_eq!(refused(nowhere).await, "organization_id refers to a row that does not exist");
}

#[rstest]
#[tokio::test]
async fn keys_are_listed_page_by_page(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let lab = organization(&db, &home, "lab").await;
    let ada = user(&db, &home, "ada").await;
    let (first, _) = issue(&db, &home, new_key(home.user)).await;
    let (second, _) = issue(&db, &home, NewApiKey { organization_id: Some(lab.id), ..new_key(home.user) }).await;
    let (third, _) = issue(&db, &home, new_key(ada)).await;
    let list = async |filter: ApiKeyFilter, page: PageRequest| {
        db.tenant_tx("list", &home.context, async |tx| tx.api_keys().list(&filter, &page).await).await.unwrap()
    };
    let page = list(ApiKeyFilter::default(), PageRequest::first(2)).await;
    assert_eq!(page.items, [third.clone(), second.clone()]);
    let rest = list(ApiKeyFilter::default(), PageRequest { limit: 2, after: page.next }).await;
    assert_eq!((rest.items.as_slice(), rest.next), ([first].as_slice(), None));
    let of = |organization_id, user_id| ApiKeyFilter { organization_id, user_id };
    assert_eq!(list(of(Some(lab.id), None), PageRequest::default()).await.items, [second]);
    assert_eq!(list(of(None, Some(ada)), PageRequest::default()).await.items, [third]);
}

/// The status of a user that is not active is looked at on every use.
#[rstest]
#[tokio::test]
async fn a_user_who_is_active_again_has_the_key_again(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let (_, secret) = issue(&db, &home, new_key(home.user)).await;
    for (status, works) in [(UserStatus::Suspended, false), (UserStatus::Active, true)] {
        let changes = UserChanges { status: Some(status), ..UserChanges::default() };
        db.tenant_tx("status", &home.context, async |tx| tx.users().update(home.user, changes).await).await.unwrap();
        assert_eq!(db.authenticate_key(&secret).await.is_ok(), works, "{status}");
    }
}
