//! The store against a model in memory: the same appends, conditions and reads have to come to the same.

use bedplate::events::{
    AppendCondition, AppendConflict, EventQuery, EventToken, NewEvent, QueryItem, ReadFrom, stress::Stress, tag,
};
use bedplate::{Error, TenantTx};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rstest::rstest;
use serde_json::json;
use std::time::Duration;

use crate::support::{TestDatabase, db, home};

const STEPS: usize = 250;

/// What the store should hold.
#[derive(Default)]
struct Model {
    events: Vec<(i64, String, Vec<String>)>,
    tokens: Vec<(EventToken, i64)>,
}

impl Model {
    fn matching(&self, query: &EventQuery) -> Vec<i64> {
        let matching = self.events.iter().filter(|(_, event_type, tags)| query.matches(event_type, tags));
        matching.map(|(position, ..)| *position).collect()
    }

    fn last(&self) -> i64 {
        self.events.last().map_or(0, |(position, ..)| *position)
    }
}

fn random_tags(random: &mut StdRng, most: usize) -> Vec<String> {
    (0..random.random_range(0..=most))
        .map(|_| tag(["a", "b"][random.random_range(0..2)], random.random_range(0..4)))
        .collect()
}

fn random_query(random: &mut StdRng) -> EventQuery {
    let item = |random: &mut StdRng| {
        let types = random.random_range(0..3);
        let item = (0..types)
            .fold(QueryItem::default(), |item, _| item.event_type(["A", "B", "C"][random.random_range(0..3)]));
        random_tags(random, 2).into_iter().fold(item, QueryItem::with_tag)
    };
    let query = EventQuery::from(item(random));
    (0..random.random_range(0..3)).fold(query, |query, _| query.or(item(random)))
}

fn random_events(random: &mut StdRng) -> Vec<NewEvent> {
    (0..random.random_range(1..4))
        .map(|_| {
            let event = NewEvent::new(["A", "B", "C"][random.random_range(0..3)], json!({}));
            random_tags(random, 3)
                .iter()
                .filter_map(|tag| tag.split_once(':'))
                .fold(event, |event, (key, value)| event.tag(key, value))
        })
        .collect()
}

#[rstest]
#[tokio::test]
async fn random_appends_and_reads_come_to_what_the_model_says(#[future(awt)] db: TestDatabase) {
    let seed = rand::rng().random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (home, noise) = (home(&db).await, home(&db).await);
    let mut model = Model::default();
    let (mut conflicts, mut read) = (0, 0);
    for step in 0..STEPS {
        let query = random_query(&mut random);
        let query_of = &query;
        match random.random_range(0..10) {
            0..4 => {
                let events = random_events(&mut random);
                let (condition, after) = if random.random_bool(0.7) {
                    let known =
                        if model.tokens.is_empty() { None } else { Some(random.random_range(0..model.tokens.len())) };
                    match known.map(|index| model.tokens[index].clone()) {
                        Some((token, position)) => {
                            (Some(AppendCondition::fail_if(query.clone()).after(token)), position)
                        }
                        None => (Some(AppendCondition::fail_if(query.clone())), 0),
                    }
                } else {
                    (None, i64::MAX)
                };
                let appended = db.append_events(&home.context, &events, condition.as_ref()).await;
                let in_between: Vec<_> =
                    model.matching(&query).into_iter().filter(|position| *position > after).collect();
                match appended {
                    Ok(positions) => {
                        assert!(in_between.is_empty(), "step {step}: {query:?} after {after} should have failed");
                        assert!(positions[0] > model.last() && positions.is_sorted(), "step {step}");
                        let new = positions.into_iter().zip(&events);
                        model
                            .events
                            .extend(new.map(|(at, event)| (at, event.event_type().to_owned(), event.tags().to_vec())));
                    }
                    Err(Error::AppendConflict { conflict: AppendConflict::Event { position, .. } }) => {
                        assert!(in_between.contains(&position), "step {step}: {position} is none of {in_between:?}");
                        conflicts += 1;
                    }
                    Err(error) => panic!("step {step}: {error}"),
                }
            }
            4..6 => {
                let decide = async move |tx: TenantTx| tx.events().read_to_decide(query_of).await;
                let seen = db.tenant_tx("model", &home.context, decide).await.unwrap();
                assert_eq!(seen.events.iter().map(|event| event.position).collect::<Vec<_>>(), model.matching(&query));
                model.tokens.push((seen.token, model.last()));
            }
            6 => drop(db.append_events(&noise.context, &random_events(&mut random), None).await.unwrap()),
            _ => {
                let at = model.last() * random.random_range(0..10) / 9;
                let limit: usize = random.random_range(1..20);
                let matching = model.matching(&query);
                let (from, expected): (_, Vec<_>) = match random.random_range(0..4) {
                    0 => (ReadFrom::Start, matching),
                    1 => (ReadFrom::After(at), matching.into_iter().filter(|position| *position > at).collect()),
                    2 => (ReadFrom::End, matching.into_iter().rev().collect()),
                    _ => (ReadFrom::Before(at), matching.into_iter().rev().filter(|position| *position < at).collect()),
                };
                let get = async move |tx: TenantTx| tx.events().read(query_of, from, limit.try_into().unwrap()).await;
                let events = db.tenant_tx("model", &home.context, get).await.unwrap();
                let found: Vec<_> = events.iter().map(|event| event.position).collect();
                assert_eq!(found, expected[..expected.len().min(limit)], "step {step}: {query:?} {from:?}");
                read += found.len();
            }
        }
    }
    assert!(conflicts > 5 && read > 50 && model.events.len() > 20, "{conflicts} conflicts, {read} read");
}

/// Sixteen writers and four readers side by side, and a look at every history.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histories_of_writers_side_by_side_keep_the_rule(#[future(awt)] db: TestDatabase) {
    let stress = Stress { writers: 16, readers: 4, duration: Duration::from_secs(4) };
    let report = stress.run(&db, std::future::pending(), |_, _| {}).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert!(report.appended > 100 && report.conflicts > 10 && report.handled == 2 * report.appended, "{report:?}");
}
