//! Every list of the product is read to its end, and takes any cursor that anybody writes: random rows, and cursors that
//! are real, changed, and made up.
//!
//! `BEDPLATE_LIST_ROUNDS` says how many rounds there are (`scripts/stress-lists` takes many), `BEDPLATE_LIST_SEED`
//! repeats a run: its first round has this seed, each next one has the next number.

mod cursors;
mod pages;
mod rows;

use std::collections::{BTreeMap, BTreeSet};

use bedplate::Error;
use bedplate::models::{Cursor, PageRequest};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use pages::{LISTS, Place};

/// How many cursors each list is given in a round.
const CURSORS: usize = 40;

/// 1. Each list is read with the largest pages, and in pages of other sizes: the rows are the same, in the same order,
///    each once, and as many as the table has.
/// 2. Each list is given cursors of all lists, cursors that were changed, and what is no cursor: it answers, or says that
///    the cursor does not belong to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_list_is_read_to_its_end_and_takes_any_cursor() {
    let variable = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let rounds = variable("BEDPLATE_LIST_ROUNDS").unwrap_or(1);
    let seed = variable("BEDPLATE_LIST_SEED").unwrap_or_else(|| rand::rng().random::<u32>().into());
    println!("BEDPLATE_LIST_SEED={seed} BEDPLATE_LIST_ROUNDS={rounds}");
    let mut answers = BTreeMap::<(&str, bool), usize>::new();
    for round in 0..rounds {
        let seed = seed.wrapping_add(round);
        let mut random = StdRng::seed_from_u64(seed);
        let place = rows::fill(&mut random).await;
        let told = |list: &str| format!("{list} of BEDPLATE_LIST_SEED={seed} BEDPLATE_LIST_ROUNDS=1");
        // 1
        let mut real = BTreeMap::<&str, Vec<String>>::new();
        for list in LISTS {
            let whole = read(&place, list.name, || 200, &mut Vec::new()).await;
            assert_eq!(
                whole.iter().collect::<BTreeSet<_>>().len(),
                whole.len(),
                "a row came twice in {}",
                told(list.name)
            );
            assert_eq!(whole.len(), place.count(list).await, "{}", told(list.name));
            assert!(whole.len() > 3, "there is nothing to read in {}", told(list.name));
            // Shorter than the list, so that there is a cursor.
            let longest = whole.len().min(8);
            let limit = || random.random_range(1..u16::try_from(longest).unwrap());
            let parts = read(&place, list.name, limit, real.entry(list.name).or_default()).await;
            assert_eq!(parts, whole, "{}", told(list.name));
        }
        // 2
        for list in LISTS {
            for _ in 0..CURSORS {
                let of = if random.random_bool(0.7) { list } else { LISTS.choose(&mut random).unwrap() };
                let cursor = cursors::any(&mut random, &real[of.name]);
                let page = PageRequest { limit: 3, after: Some(Cursor::from_client(cursor.clone())) };
                let taken = match place.page(list.name, &page).await {
                    Ok(_) => true,
                    Err(Error::Invalid { violations }) if violations[0].field == "cursor" => false,
                    Err(error) => panic!("{error:?} for the cursor {}, {}", cursors::shown(&cursor), told(list.name)),
                };
                *answers.entry((list.name, taken)).or_default() += 1;
            }
        }
    }
    for list in LISTS {
        assert!(answers.contains_key(&(list.name, false)), "{}: no cursor was refused", list.name);
    }
    assert!(answers.iter().filter(|((_, taken), _)| *taken).count() > LISTS.len() / 2, "{answers:?}");
}

async fn read(place: &Place, list: &str, mut limit: impl FnMut() -> u16, cursors: &mut Vec<String>) -> Vec<String> {
    let (mut rows, mut page) = (Vec::new(), PageRequest::first(limit()));
    loop {
        let (mut items, next) = place.page(list, &page).await.unwrap_or_else(|error| panic!("{list}: {error:?}"));
        rows.append(&mut items);
        assert!(rows.len() < 10_000, "the pages of {list} do not end");
        let Some(after) = next else { return rows };
        cursors.push(after.as_str().to_owned());
        page = PageRequest { limit: limit(), after: Some(after) };
    }
}

/// Both ways: a function that takes a page is in the list above, and what is there is one.
#[test]
fn every_function_that_takes_a_page_is_tested() {
    let mut found = BTreeSet::new();
    let mut folders = vec![std::path::PathBuf::from("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for function in text.split("pub async fn ").skip(1) {
                let signature = function.split("->").next().unwrap();
                if signature.contains("PageRequest") {
                    let name = signature.split(['(', '<']).next().unwrap();
                    found.insert(format!("{}::{name}", path.strip_prefix("src").unwrap().display()));
                }
            }
        }
    }
    assert!(found.len() > 10, "{found:?}");
    assert_eq!(found, LISTS.iter().map(|list| list.function.to_owned()).collect());
}
