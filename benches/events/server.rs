//! A database with a tenant and so many events, made by SQL.

use std::sync::Arc;

use bedplate::database::DatabaseName;
use bedplate::database::migrate::{self, Direction, Source};
use bedplate::database::private_server::Urls;
use bedplate::models::{NewTenant, TenantType};
use bedplate::{Config, Database, DatabaseUrl, Environment, Error, TenantContext};
use diesel_async::SimpleAsyncConnection as _;
use tokio_postgres::Client;

use super::sent;

/// Courses of the stored events; each event has a tag of one, and one of a student.
pub(crate) const COURSES: i64 = 20_000;

pub(crate) struct Bench {
    pub(crate) database: Database,
    pub(crate) context: TenantContext,
    url: DatabaseUrl,
}

impl Bench {
    pub(crate) async fn new(urls: &Urls, name: &str, stored: i64) -> Result<Self, Error> {
        bedplate::database::connect(&urls.owner).await?.batch_execute(&format!("CREATE DATABASE {name}")).await?;
        let url = urls.owner.with_database(name)?;
        migrate::run(&url, &Source::Embedded(DatabaseName::Main), Direction::Up, |_| {}).await?;
        let mut config = Config::new(url, Environment::Development);
        let app = urls.app.with_database(name)?;
        config.app_url = Some(app.clone());
        config.pool.max_size = 20;
        let database = Database::connect(config).await?;
        let new = NewTenant { slug: "bench", name: "Bench", tenant_type: TenantType::Standard };
        let tenant = database.system_tx("tenant", async |tx| tx.tenants().create(new).await).await?.id;
        // As the superuser: nobody else may insert, or generate millions in one statement.
        let mut admin = bedplate::database::connect(&urls.admin.with_database(name)?).await?;
        admin
            .batch_execute(&format!(
                "CREATE TABLE plain (position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id uuid NOT NULL, \
                    event_type text NOT NULL, event_data jsonb NOT NULL, tags text[] NOT NULL, \
                    created_at timestamptz NOT NULL DEFAULT now()); \
                 GRANT SELECT, INSERT ON plain TO bedplate_app; \
                 INSERT INTO plain (id, event_type, event_data, tags) SELECT gen_random_uuid(), 'Enrolled', \
                    '{{\"at\": \"noon\", \"by\": \"somebody with a name\"}}', \
                    ARRAY['course:' || n % {COURSES}, 'student:' || n % 50021] FROM generate_series(1, {stored}) AS n; \
                 INSERT INTO events (tenant_id, position, id, event_type, event_data, tags) OVERRIDING SYSTEM VALUE \
                    SELECT '{tenant}', position, id, event_type, event_data, tags FROM plain; \
                 INSERT INTO event_tags SELECT tenant_id, event_tag_hash(tag), position FROM events, unnest(tags) AS tag; \
                 SELECT setval('events_position_seq', {stored})"
            ))
            .await?;
        for statement in ["VACUUM ANALYZE plain", "VACUUM ANALYZE events", "VACUUM ANALYZE event_tags", "CHECKPOINT"] {
            admin.batch_execute(statement).await?;
        }
        Ok(Self { database, context: TenantContext::new(tenant), url: app })
    }

    /// Connections that have taken role and tenant.
    pub(crate) async fn bare(&self, number: usize) -> Result<Vec<Arc<Client>>, Error> {
        let mut clients = Vec::with_capacity(number);
        for _ in 0..number {
            let url = self.url.reveal();
            let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.map_err(sent)?;
            tokio::spawn(connection);
            let tenant = self.context.tenant_id();
            let settings = format!("SET ROLE bedplate_app; SET app.tenant_id = '{tenant}'");
            client.batch_execute(&settings).await.map_err(sent)?;
            clients.push(Arc::new(client));
        }
        Ok(clients)
    }

    /// What is committed by now.
    pub(crate) async fn token(client: &Client) -> Result<String, Error> {
        let row = client.query_one("SELECT event_token()", &[]).await.map_err(sent)?;
        Ok(row.get(0))
    }
}
