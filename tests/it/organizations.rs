//! Organizations and who is in them.

use bedplate::models::{
    NewOrganization, OrganizationChanges, OrganizationId, OrganizationRole, PageRequest, TenantStatus, UserId,
};
use bedplate::{Error, Result};
use rstest::rstest;
use serde_json::json;

use crate::support::{TestDatabase, connection, db, execute, home, number, organization, user};

#[rstest]
#[tokio::test]
async fn an_organization_is_created_with_its_owner_found_changed_and_deleted(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let created = organization(&db, &home, "lab").await;
    let (settings, metadata) = (json!({"review": "two-person"}), json!({"floor": 3}));
    let changes = OrganizationChanges {
        name: Some("Consumer Lab"),
        slug: Some("consumer-lab"),
        settings: Some(&settings),
        metadata: Some(&metadata),
    };
    db.tenant_tx("organizations", &home.context, async |tx| {
        let organizations = tx.organizations();
        assert_eq!(organizations.find(created.id).await?, created);
        assert_eq!(organizations.find_by_slug("lab").await?, created);
        assert_eq!(tx.memberships().find(created.id, home.user).await?.role, OrganizationRole::Owner);
        let changed = organizations.update(created.id, changes).await?;
        assert_eq!((changed.name.as_str(), changed.slug.as_str()), ("Consumer Lab", "consumer-lab"));
        assert_eq!((&changed.settings, &changed.metadata), (&settings, &metadata));
        assert_eq!(organizations.update(created.id, OrganizationChanges::default()).await?, changed);
        organizations.delete(created.id).await?;
        assert!(matches!(organizations.find(created.id).await, Err(Error::NotFound { .. })));
        assert!(matches!(organizations.find_by_slug("consumer-lab").await, Err(Error::NotFound { .. })));
        assert!(matches!(organizations.delete(created.id).await, Err(Error::NotFound { .. })));
        assert!(matches!(organizations.update(created.id, changes).await, Err(Error::NotFound { .. })));
        // The last owner keeps nobody from deleting it.
        assert!(matches!(tx.memberships().find(created.id, home.user).await, Err(Error::NotFound { .. })));
        Ok(())
    })
    .await
    .unwrap();
}

#[rstest]
#[case("", "lab", "name is empty")]
#[case("Lab", "Not a label", "slug is not allowed (organizations_slug_check)")]
#[case("Lab", &"x".repeat(64), "slug has 64 characters, allowed are 1 to 63")]
#[case("Lab", "taken", "slug is in conflict with another row (organizations_slug_key)")]
#[tokio::test]
async fn bad_organizations_are_refused(
    #[future(awt)] db: TestDatabase,
    #[case] name: &str,
    #[case] slug: &str,
    #[case] message: &str,
) {
    let home = home(&db).await;
    let taken = organization(&db, &home, "taken").await;
    let new = NewOrganization { name, slug, owner: home.user };
    let create = db.tenant_tx("create", &home.context, async |tx| tx.organizations().create(new).await).await;
    assert_eq!(create.unwrap_err().to_string(), message);
    let nobody = NewOrganization { name: "Lab", slug: "lab", owner: UserId::new() };
    let create = db.tenant_tx("create", &home.context, async |tx| tx.organizations().create(nobody).await).await;
    assert!(matches!(create, Err(Error::NotFound { entity: "user", .. })));
    let settings = json!([1]);
    let changes = OrganizationChanges { settings: Some(&settings), ..OrganizationChanges::default() };
    let update =
        db.tenant_tx("update", &home.context, async |tx| tx.organizations().update(taken.id, changes).await).await;
    assert_eq!(update.unwrap_err().to_string(), "settings is no JSON object");
}

#[rstest]
#[tokio::test]
async fn members_are_added_changed_listed_and_removed(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let lab = organization(&db, &home, "lab").await;
    let (ada, bob, eve) = (user(&db, &home, "ada").await, user(&db, &home, "bob").await, user(&db, &home, "eve").await);
    db.tenant_tx("add", &home.context, async |tx| {
        tx.memberships().add(lab.id, ada, OrganizationRole::Admin).await?;
        tx.memberships().add_many(lab.id, &[(bob, OrganizationRole::Member), (eve, OrganizationRole::Viewer)]).await
    })
    .await
    .unwrap();
    db.tenant_tx("members", &home.context, async |tx| {
        let memberships = tx.memberships();
        assert_eq!(memberships.set_role(lab.id, eve, OrganizationRole::Member).await?.role, OrganizationRole::Member);
        memberships.remove(lab.id, bob).await?;
        let (mut found, mut page) = (Vec::new(), PageRequest::first(1));
        loop {
            let next = memberships.list_members(lab.id, &page).await?;
            found.extend(next.items.into_iter().map(|(member, user)| {
                assert_eq!(member.user_id, user.id);
                (user.id, member.role)
            }));
            let Some(after) = next.next else { break };
            page.after = Some(after);
        }
        assert_eq!(
            found,
            [(home.user, OrganizationRole::Owner), (ada, OrganizationRole::Admin), (eve, OrganizationRole::Member)]
        );
        Ok(())
    })
    .await
    .unwrap();
    let refused = async |organization: OrganizationId, who: UserId| -> [Result<()>; 3] {
        [
            db.tenant_tx("add", &home.context, async |tx| {
                tx.memberships().add(organization, who, OrganizationRole::Member).await.map(|_| ())
            })
            .await,
            db.tenant_tx("role", &home.context, async |tx| {
                tx.memberships().set_role(organization, who, OrganizationRole::Member).await.map(|_| ())
            })
            .await,
            db.tenant_tx("remove", &home.context, async |tx| tx.memberships().remove(organization, who).await).await,
        ]
    };
    let [add, ..] = refused(lab.id, ada).await;
    assert!(matches!(add, Err(Error::Conflict { constraint, .. }) if constraint == "user_organizations_pkey"));
    let [add, role, remove] = refused(lab.id, UserId::new()).await;
    assert!(matches!(add, Err(Error::NotFound { entity: "user", .. })));
    assert!(matches!(role, Err(Error::NotFound { entity: "membership", .. })));
    assert!(matches!(remove, Err(Error::NotFound { entity: "membership", .. })));
    let [add, ..] = refused(OrganizationId::new(), bob).await;
    assert_eq!(add.unwrap_err().to_string(), "organization_id refers to a row that does not exist");
}

#[rstest]
#[tokio::test]
async fn a_users_organizations_are_listed(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let ada = user(&db, &home, "ada").await;
    let mut expected = Vec::new();
    for slug in ["one", "two", "three"] {
        let organization = organization(&db, &home, slug).await;
        db.tenant_tx("add", &home.context, async |tx| {
            tx.memberships().add(organization.id, ada, OrganizationRole::Viewer).await
        })
        .await
        .unwrap();
        expected.push(organization);
    }
    db.tenant_tx("list", &home.context, async |tx| {
        let first = tx.memberships().list_organizations(ada, &PageRequest::first(2)).await?;
        let rest = PageRequest { limit: 2, after: first.next.clone() };
        let second = tx.memberships().list_organizations(ada, &rest).await?;
        assert_eq!(second.next, None);
        let all: Vec<_> = first.items.into_iter().chain(second.items).map(|(_, organization)| organization).collect();
        assert_eq!(all, expected);
        let newest = tx.organizations().list(&PageRequest::first(2)).await?;
        assert_eq!(newest.items, [expected[2].clone(), expected[1].clone()]);
        let last = tx.organizations().list(&PageRequest { limit: 2, after: newest.next }).await?;
        assert_eq!(last.items, [expected[0].clone()]);
        Ok(())
    })
    .await
    .unwrap();
}

#[rstest]
#[tokio::test]
async fn the_last_owner_stays_until_ownership_is_handed_over(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let lab = organization(&db, &home, "lab").await;
    let ada = user(&db, &home, "ada").await;
    let leave = async |who| {
        db.tenant_tx("leave", &home.context, async move |tx| tx.memberships().remove(lab.id, who).await).await
    };
    assert!(matches!(leave(home.user).await, Err(Error::LastOwner)));
    let demote = db
        .tenant_tx("demote", &home.context, async |tx| {
            tx.memberships().set_role(lab.id, home.user, OrganizationRole::Admin).await
        })
        .await;
    assert!(matches!(demote, Err(Error::LastOwner)));
    // Deleting the user would take the membership away: refused, and the user stays.
    let delete = db.tenant_tx("delete", &home.context, async |tx| tx.users().delete(home.user).await).await;
    assert!(matches!(delete, Err(Error::LastOwner)));

    let transfer = async |from, to| {
        db.tenant_tx("transfer", &home.context, async move |tx| {
            tx.memberships().transfer_ownership(lab.id, from, to).await
        })
        .await
    };
    assert!(matches!(transfer(home.user, ada).await, Err(Error::NotFound { entity: "membership", .. })));
    db.tenant_tx("add", &home.context, async |tx| tx.memberships().add(lab.id, ada, OrganizationRole::Viewer).await)
        .await
        .unwrap();
    assert!(matches!(transfer(ada, home.user).await, Err(Error::NotFound { entity: "owner", .. })));
    assert!(matches!(transfer(ada, ada).await, Err(Error::Invalid { .. })));
    transfer(home.user, ada).await.unwrap();
    let roles = db
        .tenant_tx("roles", &home.context, async |tx| {
            let memberships = tx.memberships();
            Ok((memberships.find(lab.id, home.user).await?.role, memberships.find(lab.id, ada).await?.role))
        })
        .await
        .unwrap();
    assert_eq!(roles, (OrganizationRole::Admin, OrganizationRole::Owner));
    leave(home.user).await.unwrap();
    assert!(matches!(leave(ada).await, Err(Error::LastOwner)));
}

#[rstest]
#[tokio::test]
async fn a_deleted_user_leaves_every_organization_and_comes_into_none(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let lab = organization(&db, &home, "lab").await;
    let ada = user(&db, &home, "ada").await;
    let add = async || {
        db.tenant_tx("add", &home.context, async |tx| tx.memberships().add(lab.id, ada, OrganizationRole::Member).await)
            .await
    };
    add().await.unwrap();
    db.tenant_tx("delete", &home.context, async |tx| tx.users().delete(ada).await).await.unwrap();
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system").await;
    assert_eq!(
        number(&mut owner, &format!("SELECT count(*) FROM user_organizations WHERE user_id = '{ada}'")).await,
        0
    );
    assert!(matches!(add().await, Err(Error::NotFound { entity: "user", .. })));
}

/// The rule is the database's: it holds for clients of other languages, and stands in nobody's way who deletes
/// the tenant.
#[rstest]
#[tokio::test]
async fn the_last_owner_is_kept_by_the_database_and_a_tenant_goes_all_the_same(#[future(awt)] db: TestDatabase) {
    use diesel_async::SimpleAsyncConnection as _;
    let home = home(&db).await;
    organization(&db, &home, "lab").await;
    let mut app = connection(db.config().url()).await;
    execute(&mut app, &format!("SET ROLE bedplate_app; SET app.tenant_id = '{}'", home.tenant)).await;
    for statement in [
        "DELETE FROM user_organizations",
        "UPDATE user_organizations SET role = 'member'",
        "UPDATE users SET deleted_at = now(), status = 'deactivated'",
    ] {
        let error = Error::from(app.batch_execute(statement).await.unwrap_err());
        assert!(matches!(error, Error::LastOwner), "{statement}: {error:?}");
    }
    db.system_tx("close", async |tx| {
        tx.tenants().set_status(home.tenant, TenantStatus::Closed).await?;
        tx.tenants().delete(home.tenant).await
    })
    .await
    .unwrap();
}
