//! The one function that quotes: random texts go through a server and come back as they were.

use bedplate::sql::quote_literal;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use rstest::rstest;

use crate::support::{TestDatabase, connection, db, execute, texts};

#[rstest]
#[case::standard("on")]
#[case::old("off")]
#[tokio::test]
async fn a_quoted_text_comes_back(#[future(awt)] db: TestDatabase, #[case] standard_conforming_strings: &str) {
    // What people break quoting with, beside whatever proptest finds.
    let nasty = prop_oneof![
        any::<String>(),
        "[\\\\'\"$;\\-/*% \n\r\t\u{0}Ee]{0,40}",
        Just("'; DROP TABLE users; --".to_owned()),
        Just("\\'; SELECT 1; --".to_owned()),
        Just("$$ $tag$ \u{feff}\u{2019}".to_owned()),
    ];
    let mut runner = TestRunner::default();
    let mut owner = connection(&db.url).await;
    execute(
        &mut owner,
        &format!("SET standard_conforming_strings = {standard_conforming_strings}; SET escape_string_warning = off"),
    )
    .await;
    for _ in 0..500 {
        let text = nasty.new_tree(&mut runner).unwrap().current();
        let back = texts(&mut owner, &format!("SELECT {}", quote_literal(&text))).await;
        assert_eq!(back, [text.replace('\0', "")]);
    }
}
