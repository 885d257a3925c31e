//! Two at once, about who may do what. Numbered steps, held by locks and notifications.

use std::sync::Arc;
use std::time::Duration;

use bedplate::Error;
use bedplate::models::{NewApiKey, OrganizationRole, SessionData, SessionId};
use chrono::{TimeDelta, Utc};
use futures_util::future::join_all;
use rstest::rstest;
use tokio::sync::{Barrier, Notify};

use crate::support::{TestDatabase, connection, db, execute, home, number, organization, user, waits_for_lock};

/// 1. An organization has two owners, A and B.
/// 2. A leaves in a transaction that stays open.
/// 3. B leaves too, and waits: the organization's row is locked.
/// 4. A commits.
/// 5. B is refused: it is the last one now.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_last_owners_one_stays(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let lab = organization(&db, &home, "lab").await.id;
    let b = user(&db, &home, "b").await;
    db.tenant_tx("add", &home.context, async |tx| tx.memberships().add(lab, b, OrganizationRole::Owner).await)
        .await
        .unwrap(); // 1
    let left = Arc::new(Notify::new());
    let other = {
        let (database, context, left) = (db.database.clone(), home.context.clone(), left.clone());
        tokio::spawn(async move {
            left.notified().await;
            // 3
            database.tenant_tx("b.leaves", &context, async |tx| tx.memberships().remove(lab, b).await).await
        })
    };
    db.tenant_tx("a.leaves", &home.context, async |tx| {
        tx.memberships().remove(lab, home.user).await?; // 2
        left.notify_one();
        waits_for_lock(&db, "b.leaves").await;
        Ok(()) // 4
    })
    .await
    .unwrap();
    assert!(matches!(other.await.unwrap(), Err(Error::LastOwner)), "5");
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system").await;
    assert_eq!(number(&mut owner, "SELECT count(*) FROM user_organizations WHERE role = 'owner'").await, 1);
}

/// 1. A adds a member in a transaction that stays open.
/// 2. Meanwhile the user is deleted, and that waits.
/// 3. A commits.
/// 4. The user is deleted, and is a member of nothing.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_is_deleted_meanwhile_does_not_stay_a_member(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let lab = organization(&db, &home, "lab").await.id;
    let ada = user(&db, &home, "ada").await;
    let added = Arc::new(Notify::new());
    let deletes = {
        let (database, context, added) = (db.database.clone(), home.context.clone(), added.clone());
        tokio::spawn(async move {
            added.notified().await;
            // 2
            database.tenant_tx("delete", &context, async |tx| tx.users().delete(ada).await).await
        })
    };
    db.tenant_tx("add", &home.context, async |tx| {
        tx.memberships().add(lab, ada, OrganizationRole::Member).await?; // 1
        added.notify_one();
        waits_for_lock(&db, "delete").await;
        Ok(()) // 3
    })
    .await
    .unwrap();
    deletes.await.unwrap().unwrap();
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system").await;
    let left = format!("SELECT count(*) FROM user_organizations WHERE user_id = '{ada}'");
    assert_eq!(number(&mut owner, &left).await, 0); // 4
}

/// 1. A rotates a key in a transaction that stays open.
/// 2. B rotates it too, and waits.
/// 3. A commits.
/// 4. B is told that it is rotated; there are two keys, the old one and A's.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_rotations_one_makes_a_key(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let new = NewApiKey { user_id: home.user, organization_id: None, name: "Key", scopes: &[], expires_at: None };
    let key = db.tenant_tx("issue", &home.context, async |tx| tx.api_keys().create(new).await).await.unwrap().0.id;
    let rotated = Arc::new(Notify::new());
    let other = {
        let (database, context, rotated) = (db.database.clone(), home.context.clone(), rotated.clone());
        tokio::spawn(async move {
            rotated.notified().await;
            // 2
            database
                .tenant_tx("b.rotates", &context, async |tx| tx.api_keys().rotate(key, Duration::from_hours(1)).await)
                .await
        })
    };
    db.tenant_tx("a.rotates", &home.context, async |tx| {
        tx.api_keys().rotate(key, Duration::from_hours(1)).await?; // 1
        rotated.notify_one();
        waits_for_lock(&db, "b.rotates").await;
        Ok(()) // 3
    })
    .await
    .unwrap();
    let late = other.await.unwrap();
    assert!(matches!(&late, Err(Error::WrongState { state, .. }) if state == "rotated"), "4: {late:?}");
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "SET ROLE bedplate_system").await;
    assert_eq!(number(&mut owner, "SELECT count(*) FROM api_keys").await, 2);
}

/// 1. Two hundred sessions are over, fifty are not.
/// 2. Four prune together, in batches, until nothing is left.
/// 3. Each session that is over was deleted by one of them; the others are there.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn prunes_side_by_side_take_each_session_once(#[future(awt)] db: TestDatabase) {
    let mut owner = connection(&db.url).await;
    // 1
    execute(&mut owner, "INSERT INTO sessions SELECT n, '{}', now() AT TIME ZONE 'UTC' + (n - 200.5) * interval '1 hour' FROM generate_series(1, 250) AS n").await;
    // 2
    let start = Arc::new(Barrier::new(4));
    let prunes = (0..4).map(|_| {
        let (database, start) = (db.database.clone(), start.clone());
        tokio::spawn(async move {
            start.wait().await;
            let mut pruned = Vec::new();
            loop {
                let batch = database.session_tx("prune", async |tx| tx.sessions().prune(7).await).await.unwrap();
                if batch == 0 {
                    return pruned;
                }
                pruned.push(batch);
            }
        })
    });
    let pruned: Vec<usize> = join_all(prunes).await.into_iter().flat_map(Result::unwrap).collect();
    // 3
    assert_eq!(pruned.iter().sum::<usize>(), 200);
    assert_eq!(number(&mut owner, "SELECT count(*) FROM sessions").await, 50);
}

/// 1. A prune has locked a batch and not committed.
/// 2. Another prune meanwhile does not wait, and takes others.
#[rstest]
#[tokio::test]
async fn a_prune_does_not_wait_for_another(#[future(awt)] db: TestDatabase) {
    let mut owner = connection(&db.url).await;
    execute(&mut owner, "INSERT INTO sessions SELECT n, '{}', now() AT TIME ZONE 'UTC' - interval '1 s' FROM generate_series(1, 10) AS n").await;
    db.session_tx("a.prunes", async |tx| {
        assert_eq!(tx.sessions().prune(6).await?, 6); // 1
        let other = db.session_tx("b.prunes", async |tx| tx.sessions().prune(6).await).await?;
        assert_eq!(other, 4); // 2
        Ok(())
    })
    .await
    .unwrap();
}

/// 1. A request saves a session in a transaction that stays open: it was loaded before.
/// 2. Meanwhile all sessions of its user are revoked, and that waits for the save.
/// 3. The save commits; the revocation deletes the session as it is now.
/// 4. A second, later save is refused: the session is not back.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_session_is_not_brought_back_by_a_save(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let (id, end) = (SessionId::new(), Utc::now() + TimeDelta::hours(1));
    let mut data = SessionData::new();
    bedplate::tenancy::session::sign_in(&mut data, home.tenant, home.user);
    db.session_tx("create", async |tx| tx.sessions().create(&id, &data, end).await).await.unwrap();
    let saved = Arc::new(Notify::new());
    let revokes = {
        let (database, home, saved) = (db.database.clone(), home.clone(), saved.clone());
        tokio::spawn(async move {
            saved.notified().await;
            // 2
            database.session_tx("revokes", async |tx| tx.sessions().revoke_user(home.tenant, home.user).await).await
        })
    };
    db.session_tx("saves", async |tx| {
        tx.sessions().save(&id, &data, end).await?; // 1
        saved.notify_one();
        waits_for_lock(&db, "revokes").await;
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(revokes.await.unwrap().unwrap(), 1); // 3
    let late = db.session_tx("late", async |tx| tx.sessions().save(&id, &data, end).await).await;
    assert!(matches!(late, Err(Error::NotFound { .. })), "4: {late:?}");
    assert_eq!(number(&mut connection(&db.url).await, "SELECT count(*) FROM sessions").await, 0);
}
