//! A database with a tenant and so many events, made by SQL, on a server with the memory for it.

use std::sync::Arc;

use bedplate::database::DatabaseName;
use bedplate::database::migrate::{self, Direction, Source};
use bedplate::database::private_server::{PrivateServer, Urls};
use bedplate::models::{NewTenant, TenantType};
use bedplate::{Config, Database, DatabaseUrl, Environment, Error, TenantContext};
use diesel_async::SimpleAsyncConnection as _;
use tokio_postgres::Client;

use super::sent;

/// Courses of the stored events; each event has a tag of one, and one of a student.
pub(crate) const COURSES: i64 = 20_000;

/// As a server for this much is set up: what is stored fits into memory, and checkpoints are not made by volume.
const SETTINGS: &str = "ALTER SYSTEM SET shared_buffers = '4GB'; ALTER SYSTEM SET max_wal_size = '16GB'; \
    ALTER SYSTEM SET checkpoint_timeout = '1h'; ALTER SYSTEM SET autovacuum = off";

pub(crate) async fn configure(server: &PrivateServer) -> Result<(), Error> {
    let urls = server.urls()?.ok_or_else(|| super::io(std::io::Error::other("the server has no URL")))?;
    let mut admin = bedplate::database::connect(&urls.admin).await?;
    for setting in SETTINGS.split("; ") {
        admin.batch_execute(setting).await?;
    }
    drop(admin);
    server.stop()?;
    server.start(&mut |_| {}).await?;
    Ok(())
}

pub(crate) struct Bench {
    pub(crate) database: Database,
    pub(crate) context: TenantContext,
    url: DatabaseUrl,
    admin: DatabaseUrl,
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
        // As the superuser: nobody else may insert, or generate millions in one statement. Indexes are made anew
        // afterwards, which takes a tenth of the time.
        let admin_url = urls.admin.with_database(name)?;
        let mut admin = bedplate::database::connect(&admin_url).await?;
        admin
            .batch_execute(&format!(
                "CREATE TABLE definitions AS \
                    SELECT conrelid::regclass::text AS relation, conname AS name, true AS is_constraint, \
                           pg_get_constraintdef(oid) AS definition \
                      FROM pg_constraint WHERE conrelid IN ('events'::regclass, 'event_tags'::regclass) \
                     UNION ALL SELECT indrelid::regclass::text, indexrelid::regclass::text, false, pg_get_indexdef(indexrelid) \
                      FROM pg_index AS i WHERE indrelid = 'events'::regclass \
                       AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid); \
                 DO $$ DECLARE d record; BEGIN FOR d IN SELECT * FROM definitions LOOP \
                    IF d.is_constraint THEN EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', d.relation, d.name); \
                    ELSE EXECUTE format('DROP INDEX %s', d.name); END IF; END LOOP; END $$; \
                 CREATE TABLE plain (position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id uuid NOT NULL, \
                    event_type text NOT NULL, event_data jsonb NOT NULL, tags text[] NOT NULL, \
                    created_at timestamptz NOT NULL DEFAULT now()); \
                 GRANT SELECT, INSERT ON plain TO bedplate_app; \
                 INSERT INTO plain (id, event_type, event_data, tags) SELECT gen_random_uuid(), 'Enrolled', \
                    '{{\"at\": \"noon\", \"by\": \"somebody with a name\"}}', \
                    ARRAY['course:' || n % {COURSES}, 'student:' || n % 50021] FROM generate_series(1, {stored}) AS n; \
                 INSERT INTO events (tenant_id, position, id, event_type, event_data, tags) OVERRIDING SYSTEM VALUE \
                    SELECT '{tenant}', position, id, event_type, event_data, tags FROM plain; \
                 INSERT INTO event_tags SELECT tenant_id, event_tag_hash(tag), position FROM events, unnest(tags) AS tag; \
                 DO $$ DECLARE d record; BEGIN FOR d IN SELECT * FROM definitions ORDER BY is_constraint DESC LOOP \
                    IF d.is_constraint THEN EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I %s', d.relation, d.name, d.definition); \
                    ELSE EXECUTE d.definition; END IF; END LOOP; END $$; \
                 SELECT setval('events_position_seq', {stored})"
            ))
            .await?;
        for statement in ["VACUUM ANALYZE plain", "VACUUM ANALYZE events", "VACUUM ANALYZE event_tags", "CHECKPOINT"] {
            admin.batch_execute(statement).await?;
        }
        Ok(Self { database, context: TenantContext::new(tenant), url: app, admin: admin_url })
    }

    /// Connections that have taken role and tenant.
    pub(crate) async fn bare(&self, number: usize) -> Result<Vec<Arc<Client>>, Error> {
        let clients = connect(&self.url, number).await?;
        let tenant = self.context.tenant_id();
        for client in &clients {
            let settings = format!("SET ROLE bedplate_app; SET app.tenant_id = '{tenant}'");
            client.batch_execute(&settings).await.map_err(sent)?;
        }
        Ok(clients)
    }

    /// Connections of the superuser, who may insert into `events`.
    pub(crate) async fn admin(&self, number: usize) -> Result<Vec<Arc<Client>>, Error> {
        connect(&self.admin, number).await
    }

    /// What is committed by now.
    pub(crate) async fn token(client: &Client) -> Result<String, Error> {
        let row = client.query_one("SELECT event_token()", &[]).await.map_err(sent)?;
        Ok(row.get(0))
    }
}

async fn connect(url: &DatabaseUrl, number: usize) -> Result<Vec<Arc<Client>>, Error> {
    let mut clients = Vec::with_capacity(number);
    for _ in 0..number {
        let (client, connection) = tokio_postgres::connect(url.reveal(), tokio_postgres::NoTls).await.map_err(sent)?;
        tokio::spawn(connection);
        clients.push(Arc::new(client));
    }
    Ok(clients)
}
