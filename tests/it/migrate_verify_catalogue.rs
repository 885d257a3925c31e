//! The list of what `verify` compares is the catalogue of the server.

use std::collections::BTreeSet;

use bedplate::database::migrate::{self, Comparison};

use crate::support::server::server;
use crate::support::{connection, number, texts};

/// Every column of every table of `pg_catalog` is in the list, and every entry of the list is such a column.
#[tokio::test(flavor = "multi_thread")]
async fn every_column_of_the_catalogue_is_compared_or_has_a_reason() {
    let mut owner = connection(&server().owner).await;
    let version = number(&mut owner, "SELECT current_setting('server_version_num')::int / 10000").await;
    let version = u32::try_from(version).unwrap();
    let of_server = texts(
        &mut owner,
        "SELECT relname || '.' || attname FROM pg_attribute JOIN pg_class AS c ON c.oid = attrelid \
          WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped",
    )
    .await;
    let listed: Vec<_> = migrate::catalogue(version).map(|entry| format!("{}.{}", entry.table, entry.column)).collect();
    let sets = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
    assert!(of_server.len() > 500, "only {} columns", of_server.len());
    assert_eq!(sets(&listed).len(), listed.len(), "a column is listed twice");
    let missing: Vec<_> = sets(&of_server).difference(&sets(&listed)).cloned().collect();
    let unknown: Vec<_> = sets(&listed).difference(&sets(&of_server)).cloned().collect();
    assert_eq!((missing, unknown), (vec![], vec![]), "(not listed, not in PostgreSQL {version})");
}

/// In every supported version, what is not compared has its reason, and most is compared.
#[test]
fn what_is_not_compared_has_a_reason() {
    for version in 15..=18 {
        let (mut compared, mut not_compared) = (0, 0);
        for entry in migrate::catalogue(version) {
            match entry.comparison {
                Comparison::NotCompared(reason) => {
                    assert!(reason.ends_with('.') && reason.contains(' '), "{entry:?}");
                    not_compared += 1;
                }
                Comparison::Compared | Comparison::Within(_) => compared += 1,
            }
        }
        assert!(compared > 350 && not_compared > 100, "PostgreSQL {version}: {compared}, {not_compared}");
    }
}
