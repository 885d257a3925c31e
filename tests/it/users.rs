//! Users: create, find, sign in, list, update, delete.

use bedplate::models::{NewUser, PageRequest, PasswordHash, User, UserChanges, UserFilter, UserId, UserStatus};
use bedplate::{Error, Result};
use rstest::rstest;

use crate::boundary::run;
use crate::support::builders::{PASSWORD, password_hash};
use crate::support::{Home, TestDatabase, db, home};

async fn create(db: &TestDatabase, home: &Home, email: &str, username: &str) -> Result<User> {
    let password_hash = password_hash().await;
    let new = NewUser { email, username, name: "Name", display_name: Some("Shown"), password_hash };
    db.tenant_tx("create", &home.context, async |tx| tx.users().create(new).await).await
}

#[rstest]
#[tokio::test]
async fn a_user_is_created_and_found(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let user = create(&db, &home, " New.User@Example.COM ", "new").await.unwrap();
    assert_eq!((user.email.as_str(), user.status), ("new.user@example.com", UserStatus::Active));
    assert_eq!(user.display_name.as_deref(), Some("Shown"));
    let found = db
        .tenant_tx("find", &home.context, async |tx| {
            let users = tx.users();
            tokio::try_join!(
                users.find(user.id),
                users.find_by_email("NEW.user@example.com"),
                users.find_by_username("new")
            )
        })
        .await
        .unwrap();
    assert_eq!(found, (user.clone(), user.clone(), user));
    let id = UserId::new();
    for (error, looked_for) in [
        (db.tenant_tx("find", &home.context, async |tx| tx.users().find(id).await).await, id.to_string()),
        (
            db.tenant_tx("find", &home.context, async |tx| tx.users().find_by_email("no@example.com").await).await,
            "no@example.com".into(),
        ),
        (db.tenant_tx("find", &home.context, async |tx| tx.users().find_by_username("no").await).await, "no".into()),
    ] {
        assert_eq!(error.unwrap_err().to_string(), format!("user {looked_for} does not exist"));
    }
}

#[rstest]
#[case("owner@example.com", "other", "email", "users_email_key")]
#[case("Owner@Example.com", "other", "email", "users_email_key")]
#[case("other@example.com", "owner", "username", "users_username_key")]
#[tokio::test]
async fn what_is_taken_is_a_conflict(
    #[future(awt)] db: TestDatabase,
    #[case] email: &str,
    #[case] username: &str,
    #[case] taken: &str,
    #[case] key: &str,
) {
    let home = home(&db).await;
    match create(&db, &home, email, username).await.unwrap_err() {
        Error::Conflict { constraint, field } => assert_eq!((field.as_str(), constraint.as_str()), (taken, key)),
        other => panic!("{other:?}"),
    }
}

#[rstest]
#[case("no-at", "user", "email is no e-mail address")]
#[case("a@b c", "user", "email is no e-mail address")]
#[case("", "user", "email is empty; email is no e-mail address")]
#[case("a@b.example", " ", "username is empty")]
#[tokio::test]
async fn bad_input_is_refused(
    #[future(awt)] db: TestDatabase,
    #[case] email: &str,
    #[case] username: &str,
    #[case] message: &str,
) {
    let home = home(&db).await;
    assert_eq!(create(&db, &home, email, username).await.unwrap_err().to_string(), message);
}

#[rstest]
#[tokio::test]
async fn only_the_right_password_of_an_active_user_signs_in(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let user = db.authenticate(&home.context, "OWNER@example.com", &PASSWORD.into()).await.unwrap();
    assert_eq!(user.id, home.user);
    assert!(user.last_login_at.is_some());
    let refused = async |email: &str, password: &str| {
        let error = db.authenticate(&home.context, email, &password.into()).await.unwrap_err();
        assert_eq!(error.to_string(), "the name or the password is wrong");
    };
    refused("owner@example.com", "wrong horse battery").await;
    refused("nobody@example.com", PASSWORD).await;
    let suspend = UserChanges { status: Some(UserStatus::Suspended), ..UserChanges::default() };
    db.tenant_tx("suspend", &home.context, async |tx| tx.users().update(home.user, suspend).await).await.unwrap();
    refused("owner@example.com", PASSWORD).await;
}

#[rstest]
#[tokio::test]
async fn a_new_password_replaces_the_old(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let hash = PasswordHash::new(&"another long password".into()).await.unwrap();
    let hash = &hash;
    db.tenant_tx("password", &home.context, async |tx| tx.users().set_password(home.user, hash).await).await.unwrap();
    db.authenticate(&home.context, "owner@example.com", &"another long password".into()).await.unwrap();
    let old = db.authenticate(&home.context, "owner@example.com", &PASSWORD.into()).await;
    assert!(matches!(old, Err(Error::Unauthenticated)));
    let nobody = UserId::new();
    let unknown = db.tenant_tx("password", &home.context, async |tx| tx.users().set_password(nobody, hash).await).await;
    assert!(matches!(unknown, Err(Error::NotFound { .. })));
}

#[rstest]
#[tokio::test]
async fn users_are_listed_page_by_page(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    for n in 0..3 {
        create(&db, &home, &format!("u{n}@example.com"), &format!("u{n}")).await.unwrap();
    }
    let list = async |filter: &UserFilter, page: &PageRequest| {
        let page = db.tenant_tx("list", &home.context, async |tx| tx.users().list(filter, page).await).await.unwrap();
        (page.items.iter().map(|user| user.username.clone()).collect::<Vec<_>>(), page.next)
    };
    let (first, next) = list(&UserFilter::default(), &PageRequest::first(3)).await;
    let (second, end) = list(&UserFilter::default(), &PageRequest { limit: 3, after: next }).await;
    assert_eq!((first, second, end), (vec!["u2".into(), "u1".into(), "u0".into()], vec!["owner".to_owned()], None));
    let invited = UserFilter { status: Some(UserStatus::Invited) };
    assert_eq!(list(&invited, &PageRequest::default()).await.0, Vec::<String>::new());
}

#[rstest]
#[tokio::test]
async fn changes_are_made_and_checked(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    create(&db, &home, "other@example.com", "other").await.unwrap();
    let update = async |id, changes: UserChanges<'static>| {
        db.tenant_tx("update", &home.context, async |tx| tx.users().update(id, changes).await).await
    };
    let named = UserChanges { name: Some("New Name"), display_name: Some(Some("New")), ..UserChanges::default() };
    let user = update(home.user, named).await.unwrap();
    assert_eq!((user.name.as_str(), user.display_name.as_deref()), ("New Name", Some("New")));
    let bare = update(home.user, UserChanges { display_name: Some(None), ..UserChanges::default() }).await.unwrap();
    assert_eq!((bare.name.as_str(), bare.display_name), ("New Name", None));
    let same = update(home.user, UserChanges::default()).await.unwrap();
    assert_eq!(same.updated_at, bare.updated_at);
    let taken = update(home.user, UserChanges { username: Some("other"), ..UserChanges::default() }).await;
    assert!(matches!(taken, Err(Error::Conflict { field, .. }) if field == "username"));
    let blank = update(home.user, UserChanges { name: Some(""), ..UserChanges::default() }).await;
    assert!(matches!(blank, Err(Error::Invalid { .. })));
    let gone = update(home.user, UserChanges { status: Some(UserStatus::Deactivated), ..UserChanges::default() }).await;
    assert_eq!(gone.unwrap_err().to_string(), "status cannot be set to deactivated: delete the user");
    let unknown = update(UserId::new(), named).await;
    assert!(matches!(unknown, Err(Error::NotFound { .. })));
}

#[rstest]
#[tokio::test]
async fn a_deleted_user_is_gone_and_the_names_are_free(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let delete = async || db.tenant_tx("delete", &home.context, async |tx| tx.users().delete(home.user).await).await;
    let deleted = delete().await.unwrap();
    assert_eq!(deleted.status, UserStatus::Deactivated);
    assert!(deleted.deleted_at.is_some());
    assert!(matches!(delete().await, Err(Error::NotFound { .. })));
    let found = db.tenant_tx("find", &home.context, async |tx| tx.users().find(home.user).await).await;
    assert!(matches!(found, Err(Error::NotFound { .. })));
    let signed_in = db.authenticate(&home.context, "owner@example.com", &PASSWORD.into()).await;
    assert!(matches!(signed_in, Err(Error::Unauthenticated)));
    let successor = create(&db, &home, "owner@example.com", "owner").await.unwrap();
    assert_ne!(successor.id, home.user);
}

#[rstest]
#[tokio::test]
async fn a_hash_is_shown_nowhere(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let user = db.tenant_tx("find", &home.context, async |tx| tx.users().find(home.user).await).await.unwrap();
    let shown = format!("{user:?} {} {:?}", serde_json::to_string(&user).unwrap(), password_hash().await);
    assert!(!shown.contains("argon2"), "{shown}");
}

/// A username that looks like another one is refused, by Rust and by SQL.
#[rstest]
#[case::nothing_to_see("zo\u{200b}e", "holds a character that shows nothing")]
#[case::noncharacter("zo\u{fffe}e", "holds a character that shows nothing")]
#[case::joiner("zo\u{13430}e", "holds a character that shows nothing")]
#[case::tab("zoe\t", "holds a character that shows nothing")]
#[case::two_characters("zoe\u{301}", "is not in the Unicode form NFC")]
#[tokio::test]
async fn a_username_that_looks_alike_is_refused(
    #[future(awt)] db: TestDatabase,
    #[case] alike: &str,
    #[case] message: &str,
) {
    let home = home(&db).await;
    let zoe = create(&db, &home, "zoe@example.com", "zo\u{e9} a").await.unwrap();
    let refused = create(&db, &home, "other@example.com", alike).await;
    assert!(matches!(&refused, Err(Error::Invalid { violations }) if violations[0].message == message), "{refused:?}");
    let changes = UserChanges { username: Some(alike), ..UserChanges::default() };
    let refused = db.tenant_tx("update", &home.context, async |tx| tx.users().update(zoe.id, changes).await).await;
    assert!(matches!(&refused, Err(Error::Invalid { violations }) if violations[0].message == message), "{refused:?}");
    let sql = format!("UPDATE users SET username = '{alike}' WHERE id = '{}'", zoe.id);
    let refused = db.system_tx("sql", async |tx| run(tx.connection(), &sql).await).await;
    assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
}

/// An address that looks like another one is the same one: it is taken, and it signs in; clients of SQL write it as Rust
/// does.
#[rstest]
#[case::upper_case("ZO\u{c9}@Example.com")]
#[case::two_characters("zoe\u{301}@example.com")]
#[case::nothing_to_see("\u{feff}z\u{200b}o\u{e9}@exam\u{ad}ple.com ")]
#[tokio::test]
async fn an_address_that_looks_alike_is_the_same(#[future(awt)] db: TestDatabase, #[case] alike: &str) {
    let home = home(&db).await;
    let zoe = create(&db, &home, "zo\u{e9}@example.com", "zoe").await.unwrap();
    let taken = create(&db, &home, alike, "other").await;
    assert!(matches!(&taken, Err(Error::Conflict { field, .. }) if field == "email"), "{taken:?}");
    let found = db.tenant_tx("find", &home.context, async |tx| tx.users().find_by_email(alike).await).await.unwrap();
    assert_eq!(found.id, zoe.id);
    assert_eq!(db.authenticate(&home.context, alike, &PASSWORD.into()).await.unwrap().id, zoe.id);
    let sql = format!("UPDATE users SET email = '{alike}' WHERE username = 'zoe'");
    let refused = db.system_tx("sql", async |tx| run(tx.connection(), &sql).await).await;
    assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
}
