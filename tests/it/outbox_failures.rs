//! What a relay does where its sink fails, hangs or panics: tries again, gives up, passes; and the dead letters that
//! come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bedplate::models::{OutboxEvent, RelayOptions, Relayed, RetryPolicy};
use bedplate::outbox::{Relay, Replay, Sink, SinkError};
use chrono::{DateTime, TimeDelta, Utc};
use rstest::rstest;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::support::sinks::{Recorder, drain, options, send, states};
use crate::support::{TestDatabase, connection, db, home, texts};

/// 1. A message fails twice; the later one of its entity waits for it, another entity goes on.
/// 2. The third attempt succeeds.
#[rstest]
#[tokio::test]
async fn a_failure_is_tried_again(#[future(awt)] db: TestDatabase) {
    let (home, failures) = (home(&db).await, AtomicUsize::new(0));
    let sink = Recorder::answering(move |message| {
        if message.payload["n"] == 1 && failures.fetch_add(1, Ordering::Relaxed) < 2 {
            return Err(SinkError::retry("no\0 water"));
        }
        Ok(())
    });
    send(&db, &home.context, &[("green", 1), ("green", 2), ("black", 3)]).await;
    let relayed = drain(&db, &sink).await;
    assert_eq!(relayed, Relayed { published: 3, retried: 2, ..Relayed::default() });
    assert_eq!(sink.taken().iter().filter(|n| **n != 3).collect::<Vec<_>>(), [&1, &2]);
    assert_eq!(states(&db).await, ["1 published 2 no water", "2 published 0", "3 published 0"]);
}

/// 1. A message fails at each of its three attempts and is dead; another one is hopeless at once. The later ones go on.
/// 2. A replay of the one, by its event id, brings it back, with three attempts again.
/// 3. A replay of a type brings back those of the type; one of all, the rest.
#[rstest]
#[tokio::test]
async fn what_is_given_up_comes_back_on_command(#[future(awt)] db: TestDatabase) {
    let (home, well) = (home(&db).await, Arc::new(AtomicBool::new(false)));
    let sink = Recorder::answering({
        let well = well.clone();
        move |message| match message.payload["n"].as_i64() {
            _ if well.load(Ordering::Relaxed) => Ok(()),
            Some(1) => Err(SinkError::retry("no water")),
            Some(3) => Err(SinkError::hopeless("no tea")),
            Some(5) => panic!("the pot broke"),
            _ => Ok(()),
        }
    });
    let events =
        send(&db, &home.context, &[("green", 1), ("green", 2), ("black", 3), ("black", 4), ("white", 5)]).await;
    let relayed = drain(&db, &sink).await; // 1
    assert_eq!(relayed, Relayed { published: 2, retried: 4, dead: 3, lost: 0 });
    let expected =
        ["1 dead 3 no water", "2 published 0", "3 dead 1 no tea", "4 published 0", "5 dead 3 the sink panicked"];
    assert_eq!(states(&db).await, expected);
    let replay = async |which: Replay| replay(&db, &which, Utc::now() + TimeDelta::minutes(1)).await;
    assert_eq!(replay(Replay::Id(Uuid::now_v7())).await, 0);
    assert_eq!(replay(Replay::Id(events[1].event_id)).await, 0, "it is published");
    assert_eq!(replay(Replay::Id(events[0].event_id)).await, 1);
    assert_eq!(drain(&db, &sink).await, Relayed { retried: 2, dead: 1, ..Relayed::default() }); // 2
    assert_eq!(replay(Replay::EventType("tea.spilled".into())).await, 0);
    well.store(true, Ordering::Relaxed);
    assert_eq!(replay(Replay::Id(events[2].id.as_uuid())).await, 1, "by the row's id too");
    assert_eq!(replay(Replay::EventType("tea.brewed".into())).await, 2);
    assert_eq!(replay(Replay::All).await, 0);
    assert_eq!(drain(&db, &sink).await.published, 3); // 3
    assert!(states(&db).await.iter().all(|state| state.contains("published")));
}

/// A sink that does not answer is not waited for longer than the timeout; others go on meanwhile.
#[rstest]
#[tokio::test]
async fn a_sink_that_hangs_is_left(#[future(awt)] db: TestDatabase) {
    struct Hangs;
    impl Sink for Hangs {
        async fn publish(&self, message: &OutboxEvent) -> Result<(), SinkError> {
            match message.entity_id.as_str() {
                "green" => std::future::pending().await,
                _ => Ok(()),
            }
        }
    }
    let home = home(&db).await;
    send(&db, &home.context, &[("green", 1), ("black", 2)]).await;
    let options = RelayOptions {
        timeout: Duration::from_millis(20),
        retry: RetryPolicy { max_attempts: 2, ..options("hangs").retry },
        ..options("hangs")
    };
    let relayed = Relay::new(&db.database, Arc::new(Hangs), options).drain(std::future::pending()).await.unwrap();
    assert_eq!(relayed, Relayed { published: 1, retried: 1, dead: 1, lost: 0 });
    assert_eq!(states(&db).await, ["1 dead 2 no answer within 20ms", "2 published 0"]);
}

/// 1. An entity has more messages due than a claim takes, all of them before that of another one; its first hangs.
/// 2. The other one's message goes out meanwhile.
#[rstest]
#[tokio::test]
async fn an_entity_with_much_to_send_that_hangs_is_passed(#[future(awt)] db: TestDatabase) {
    struct Hangs(Arc<Notify>);
    impl Sink for Hangs {
        async fn publish(&self, message: &OutboxEvent) -> Result<(), SinkError> {
            match message.entity_id.as_str() {
                "green" => std::future::pending().await,
                _ => self.0.notify_one(),
            }
            Ok(())
        }
    }
    let (home, passed) = (home(&db).await, Arc::new(Notify::new()));
    let many: Vec<_> = (1..=20).map(|n| ("green", n)).collect();
    send(&db, &home.context, &many).await; // 1
    send(&db, &home.context, &[("black", 21)]).await;
    let options = RelayOptions { batch: 8, ..options("hangs") };
    let relay = Relay::new(&db.database, Arc::new(Hangs(passed.clone())), options);
    let passed = tokio::time::timeout(Duration::from_secs(8), passed.notified());
    tokio::select! {
        ended = relay.run_until(std::future::pending()) => panic!("{ended:?}"),
        passed = passed => passed.unwrap(), // 2
    }
}

async fn replay(db: &TestDatabase, which: &Replay, until: DateTime<Utc>) -> usize {
    db.system_tx("replay", async |tx| tx.outbox_queue().replay(which, until, 100).await).await.unwrap()
}

/// A replay in several steps ends, also where what it brings back dies again meanwhile.
#[rstest]
#[tokio::test]
async fn what_died_after_a_replay_began_is_not_its(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let sink = Recorder::answering(|_| Err(SinkError::hopeless("no tea")));
    send(&db, &home.context, &[("green", 1), ("black", 2)]).await;
    assert_eq!(drain(&db, &sink).await.dead, 2);
    let mut owner = connection(&db.url).await;
    let began =
        texts(&mut owner, "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')");
    let began = began.await[0].parse().unwrap();
    assert_eq!(replay(&db, &Replay::All, began).await, 2);
    assert_eq!(drain(&db, &sink).await.dead, 2);
    assert_eq!(replay(&db, &Replay::All, began).await, 0);
    assert_eq!(replay(&db, &Replay::All, Utc::now() + TimeDelta::minutes(1)).await, 2);
}

/// Also before it has made its future.
#[rstest]
#[tokio::test]
async fn a_sink_that_panics_has_failed(#[future(awt)] db: TestDatabase) {
    struct Panics;
    impl Sink for Panics {
        fn publish(&self, message: &OutboxEvent) -> impl Future<Output = Result<(), SinkError>> + Send {
            assert_ne!(message.entity_id, "green", "the pot broke");
            async { Ok(()) }
        }
    }
    let home = home(&db).await;
    send(&db, &home.context, &[("green", 1), ("black", 2)]).await;
    let relayed = tokio::time::timeout(Duration::from_secs(30), drain(&db, &Arc::new(Panics))).await;
    assert_eq!(relayed.expect("it ends"), Relayed { published: 1, retried: 2, dead: 1, lost: 0 });
    assert_eq!(states(&db).await, ["1 dead 3 the sink panicked", "2 published 0"]);
}
