//! Decisions: folded from events, made again when others came in between.

use std::sync::atomic::{AtomicUsize, Ordering};

use bedplate::events::{Decision, Event, EventQuery, NewEvent, QueryItem, Upcasters};
use bedplate::{Error, Result};
use rstest::rstest;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::support::{TestDatabase, as_app, db, execute, home, until};

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
enum CourseEvent {
    CourseDefined { capacity: usize },
    StudentEnrolled { student: usize },
}

struct Enroll<'a> {
    course: usize,
    student: usize,
    attempts: &'a AtomicUsize,
}

#[derive(Debug, Default)]
struct Course {
    capacity: usize,
    enrolled: Vec<usize>,
}

impl Decision for Enroll<'_> {
    type State = Course;

    fn query(&self) -> EventQuery {
        QueryItem::default().tag("course", self.course).event_type("CourseDefined").event_type("StudentEnrolled").into()
    }

    fn apply(&self, state: &mut Course, event: &Event) -> Result<()> {
        match event.decode(&Upcasters::new())? {
            CourseEvent::CourseDefined { capacity } => state.capacity = capacity,
            CourseEvent::StudentEnrolled { student } => state.enrolled.push(student),
        }
        Ok(())
    }

    fn decide(&self, state: &Course) -> Result<Vec<NewEvent>> {
        self.attempts.fetch_add(1, Ordering::SeqCst);
        if state.enrolled.contains(&self.student) {
            return Ok(vec![]);
        }
        if state.enrolled.len() >= state.capacity {
            return Err(Error::invalid("course", "is full"));
        }
        let event = NewEvent::of(&CourseEvent::StudentEnrolled { student: self.student })?;
        Ok(vec![event.tag("course", self.course).tag("student", self.student)])
    }
}

/// 1. Somebody defines the course again, and does not commit yet.
/// 2. Twelve students want its three seats, and decide; whoever appends waits for 1.
/// 3. 1 commits, so that who has waited decides again: three get a seat, the others are told.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_seat_is_given_twice(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let defined = NewEvent::of(&CourseEvent::CourseDefined { capacity: 3 }).unwrap().tag("course", 1);
    db.append_events(&home.context, &[defined], None).await.unwrap();
    let attempts = AtomicUsize::new(0);
    let enroll = |student| Enroll { course: 1, student, attempts: &attempts };
    let students: Vec<_> = (0..12).map(enroll).collect();
    let (mut first, mut watcher) = (as_app(&db, &home).await, as_app(&db, &home).await);
    let again = r#"[{"event_type": "CourseDefined", "event_data": {"capacity": 3}, "tags": ["course:1"]}]"#;
    execute(&mut first, &format!("BEGIN; SELECT append_events('{again}')")).await; // 1
    let all = students.iter().map(|student| db.decide("enroll", &home.context, student));
    let commit = async {
        let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
                          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        until(&mut watcher, waiting).await; // 2
        execute(&mut first, "COMMIT").await; // 3
    };
    let (outcomes, ()) = tokio::join!(futures_util::future::join_all(all), commit);
    let (seated, told): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(std::result::Result::is_ok);
    assert_eq!((seated.len(), told.len()), (3, 9));
    assert!(told.iter().all(|outcome| matches!(outcome, Err(Error::Invalid { .. }))), "{told:?}");
    assert!(attempts.load(Ordering::SeqCst) > 12, "nobody came in between");
    // Who has a seat needs none: nothing is appended.
    let query = EventQuery::event_type("StudentEnrolled");
    let enrolled =
        db.tenant_tx("read", &home.context, async |tx| tx.events().read_to_decide(&query).await).await.unwrap();
    let CourseEvent::StudentEnrolled { student } = enrolled.events[0].decode(&Upcasters::new()).unwrap() else {
        panic!()
    };
    let again = db.decide("enroll", &home.context, &enroll(student)).await.unwrap();
    assert!(again.positions.is_empty());
    assert_eq!(again.state.enrolled.len(), 3);
}

/// An event whose data the enum does not know ends the decision; nothing is appended.
#[rstest]
#[tokio::test]
async fn what_cannot_be_read_is_not_decided_on(#[future(awt)] db: TestDatabase) {
    let home = home(&db).await;
    let odd = NewEvent::new("CourseDefined", json!({"seats": 3})).tag("course", 1);
    db.append_events(&home.context, &[odd], None).await.unwrap();
    let attempts = AtomicUsize::new(0);
    let refused = db.decide("enroll", &home.context, &Enroll { course: 1, student: 1, attempts: &attempts }).await;
    assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    assert_eq!(attempts.load(Ordering::SeqCst), 0);
}
