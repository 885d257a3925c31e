//! Rows of every list, with texts and times that are hard to sort, to encode and to compare.

use bedplate::database::DatabaseName;
use bedplate::models::NewEvent;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection as _};
use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use serde_json::json;

use super::pages::Place;
use crate::support::{connection, execute, form, home, migrated, number, organization};

/// How many rows of each table.
const ROWS: usize = 24;

const TEXTS: [&str; 22] = [
    "Tea",
    "Tea",
    "tea",
    "Te",
    "Tea ",
    "T\u{e9}a",
    "Te\u{301}a",
    r"a\u0000b",
    r"\",
    r"\\",
    "\"quoted\"",
    "it's",
    "%_%",
    "\t\n",
    "\u{200b}\u{feff}x",
    "\u{1f600}",
    "\u{10ffff}",
    "\u{7f}",
    "null",
    "2024-01-01T00:00:00Z",
    "\u{fdfa}\u{202e}",
    "'; DROP TABLE users; --",
];

/// Moments that many rows share, and the edges of what a column may hold.
const TIMES: [&str; 12] = [
    "now()",
    "now()",
    "now()",
    "now()",
    "'2026-03-29 02:30:00.000001+01'",
    "'2026-03-29 02:30:00.000002+01'",
    "'epoch'",
    "'1969-12-31 23:59:59.999999+00'",
    "'0001-01-01'",
    "'4713-11-24 00:00:00+00 BC'",
    "'9999-12-31 23:59:59.999999+00'",
    "'262142-12-31 23:59:59.999999+00'",
];

/// A database each, with a tenant in it and rows in every list.
pub async fn fill(random: &mut StdRng) -> Place {
    let [main, rfq, marketdata] = [
        migrated(DatabaseName::Main).await,
        migrated(DatabaseName::Rfq).await,
        migrated(DatabaseName::Marketdata).await,
    ];
    let home = home(&main).await;
    let lab = organization(&main, &home, "lab").await.id;
    let form = form(&main, &home, "tea", &[]).await;
    let (tenant, user) = (home.tenant, home.user);
    let mut rows = Rows { connection: system(&main.url).await, random };
    let users = format!(
        "INSERT INTO users (tenant_id, id, email, username, name, password_hash, created_at) \
         VALUES ('{tenant}', {{id}}, {{n}} || '@x', {{n}} || {{text}}, 'x' || {{text}}, '$argon2id$', {{time}})"
    );
    rows.insert(&users).await;
    rows.insert(&format!(
        "INSERT INTO organizations (tenant_id, id, name, slug, created_at) VALUES ('{tenant}', {{id}}, 'x' || {{text}}, 's' || {{n}}, {{time}})"
    ))
    .await;
    rows.insert_rows_of(
        "users",
        &format!(
            "INSERT INTO user_organizations (tenant_id, user_id, organization_id, created_at) \
             VALUES ('{tenant}', {{row}}, '{lab}', {{time}}) ON CONFLICT DO NOTHING"
        ),
    )
    .await;
    rows.insert_rows_of(
        "organizations",
        &format!(
            "INSERT INTO user_organizations (tenant_id, user_id, organization_id, created_at) \
             VALUES ('{tenant}', '{user}', {{row}}, {{time}}) ON CONFLICT DO NOTHING"
        ),
    )
    .await;
    rows.insert(&format!(
        "INSERT INTO api_keys (tenant_id, id, user_id, name, prefix, key_hash, created_at) \
         VALUES ('{tenant}', {{id}}, '{user}', 'x' || {{text}}, 'p', sha256({{n}}::text::bytea), {{time}})"
    ))
    .await;
    rows.insert(&format!(
        "INSERT INTO business_ideas (tenant_id, id, user_id, title, description, status, created_at) \
         VALUES ('{tenant}', {{id}}, '{user}', {{text}}, repeat('tea ', 20), 'draft', {{time}})"
    ))
    .await;
    rows.insert_rows_of(
        "business_ideas",
        &format!(
            "INSERT INTO evaluations (tenant_id, id, business_idea_id, status, completed_at, error_message, created_at) \
             VALUES ('{tenant}', {{id}}, {{row}}, 'failed', now(), {{text}}, {{time}})"
        ),
    )
    .await;
    rows.insert_rows_of(
        "evaluations",
        &format!(
            "INSERT INTO agent_results (tenant_id, id, evaluation_id, agent_type, created_at) \
             VALUES ('{tenant}', {{id}}, {{row}}, 'market-research', {{time}})"
        ),
    )
    .await;
    rows.insert(&format!(
        "INSERT INTO form_definitions (tenant_id, id, name, version, definition, created_at) \
         VALUES ('{tenant}', {{id}}, {{text}}, 1 + {{n}} % 5, 'true', {{time}}) ON CONFLICT DO NOTHING"
    ))
    .await;
    rows.insert(&format!(
        "INSERT INTO form_definitions (tenant_id, id, name, version, definition) \
         VALUES ('{tenant}', {{id}}, 'versions', (ARRAY[{{n}}, 2147483647 - {{n}}])[1 + {{n}} % 2], 'true') ON CONFLICT DO NOTHING"
    ))
    .await;
    rows.insert(&format!(
        "INSERT INTO form_submissions (tenant_id, id, form_definition_id, form_version, status, data, created_at) \
         VALUES ('{tenant}', {{id}}, '{}', 1, 'draft', jsonb_strip_nulls(jsonb_build_object( \
                 'title', nullif({{text}}, 'Tea'), 'priority', nullif({{n}} % 4, 0), 'tag', 'tea')), {{time}})",
        form.id
    ))
    .await;
    let types: Vec<_> = (0..ROWS).map(|_| (*TEXTS.choose(rows.random).unwrap()).trim().to_owned()).collect();
    let events: Vec<_> = types.iter().map(|kind| NewEvent::new(format!("x{kind}"), json!({}))).collect();
    for event in events {
        // A type may be one that nobody may append.
        let _ = main.append_events(&home.context, &[event], None).await;
    }

    let mut rows = Rows { connection: system(&rfq.url).await, random: rows.random };
    rows.insert(&format!(
        "INSERT INTO rfqs (tenant_id, id, instrument_symbol, side, quantity, requested_by, created_at, expires_at) \
         VALUES ('{tenant}', {{id}}, 'A' || {{n}}, 'buy', 1, '{user}', {{time}}, \
                 now() + (ARRAY['1 day', '1 day', '1 year', '7000 years'])[1 + {{n}} % 4]::interval)"
    ))
    .await;

    let mut rows = Rows { connection: system(&marketdata.url).await, random: rows.random };
    execute(
        &mut rows.connection,
        "INSERT INTO venues (code, name, country, timezone) VALUES ('XNAS', 'x', 'US', 'UTC')",
    )
    .await;
    rows.insert(
        "INSERT INTO instruments (symbol, name, asset_class, currency, tick_size, lot_size, venue_code) \
         VALUES ((ARRAY['A', 'A.', 'A-', 'A/', 'A_', '0'])[1 + {n} % 6] || {n}, 'x' || {text}, 'fx', 'USD', 1, 1, 'XNAS')",
    )
    .await;
    execute(
        &mut rows.connection,
        "INSERT INTO instruments (symbol, name, asset_class, currency, tick_size, lot_size, venue_code) \
         VALUES ('S', 'x', 'fx', 'USD', 1, 1, 'XNAS')",
    )
    .await;
    rows.insert(
        "INSERT INTO price_ticks (instrument_symbol, ts, last) VALUES ('S', {time} - {n} * interval '1 us', 1)",
    )
    .await;
    Place { main, rfq, marketdata, home, lab, form: form.id }
}

async fn system(url: &bedplate::DatabaseUrl) -> AsyncPgConnection {
    let mut system = connection(url).await;
    execute(&mut system, "SET ROLE bedplate_system").await;
    system
}

/// Inserts rows, with random values in the places of a statement.
struct Rows<'r> {
    connection: AsyncPgConnection,
    random: &'r mut StdRng,
}

impl Rows<'_> {
    async fn insert(&mut self, statement: &str) {
        let mut written = 0;
        for n in 1..=ROWS {
            written += self.insert_one(statement, n, "NULL").await;
        }
        assert!(written > 3, "{written} rows were written by {statement}");
    }

    /// One for each row of a table.
    async fn insert_rows_of(&mut self, table: &str, statement: &str) {
        let ids = crate::support::texts(&mut self.connection, &format!("SELECT id FROM {table} ORDER BY id")).await;
        for (n, id) in ids.iter().enumerate() {
            self.insert_one(statement, n, &format!("'{id}'")).await;
        }
        assert!(number(&mut self.connection, &format!("SELECT count(*) FROM {table}")).await > 3);
    }

    /// What a constraint of the table refuses is left out.
    async fn insert_one(&mut self, statement: &str, n: usize, row: &str) -> usize {
        let text = match self.random.random_range(0..4) {
            0 => (0..4).map(|_| self.random.random::<char>()).filter(|c| *c != '\0').collect::<String>(),
            _ => (*TEXTS.choose(self.random).unwrap()).to_owned(),
        };
        let time = TIMES.choose(self.random).unwrap();
        // Of random order, and not of the order in which the rows are made.
        let id = uuid::Uuid::from_u128(self.random.random());
        let statement = statement
            .replace("{id}", &format!("'{id}'"))
            .replace("{row}", row)
            .replace("{n}", &n.to_string())
            .replace("{time}", &format!("{time}::timestamptz"))
            .replace("{text}", &bedplate::sql::quote_literal(&text));
        match self.connection.batch_execute(&statement).await.map_err(bedplate::Error::from) {
            Ok(()) => 1,
            Err(bedplate::Error::Invalid { .. } | bedplate::Error::Conflict { .. }) => 0,
            Err(error) => panic!("{statement}: {error}"),
        }
    }
}
