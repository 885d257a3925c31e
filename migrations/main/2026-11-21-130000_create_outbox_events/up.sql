-- No foreign key to tenants: that a tenant is gone is a message too, and would go with it. The dead letters of such a
-- tenant go with the prune; where tenants are in another database, they stay.
CREATE TABLE outbox_events (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    -- created_at is one time for a whole transaction: the order is that in which the rows were written.
    sequence bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    event_type varchar(255) NOT NULL,
    event_id uuid NOT NULL DEFAULT gen_random_uuid(),
    correlation_id uuid DEFAULT nullif(current_setting('app.correlation_id', true), '')::uuid,
    entity_type varchar(100) NOT NULL,
    entity_id varchar(255) NOT NULL,
    payload jsonb NOT NULL
        CONSTRAINT outbox_events_payload_json CHECK (json_is_readable(payload)),
    created_at timestamptz NOT NULL DEFAULT now()
        CONSTRAINT outbox_events_created_at_time CHECK (created_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    available_at timestamptz NOT NULL DEFAULT now()
        CONSTRAINT outbox_events_available_at_time CHECK (available_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    claimed_by varchar(255),
    claim_id uuid,
    lease_expires_at timestamptz
        CONSTRAINT outbox_events_lease_expires_at_time CHECK (lease_expires_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    retry_count int NOT NULL DEFAULT 0,
    last_error text,
    published_at timestamptz
        CONSTRAINT outbox_events_published_at_time CHECK (published_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    dead_at timestamptz
        CONSTRAINT outbox_events_dead_at_time CHECK (dead_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    CONSTRAINT outbox_events_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT outbox_events_event_id_key UNIQUE (tenant_id, event_id),
    CONSTRAINT outbox_events_event_type_check CHECK (visible_text(event_type) <> ''),
    CONSTRAINT outbox_events_entity_type_check CHECK (visible_text(entity_type) <> ''),
    CONSTRAINT outbox_events_entity_id_check CHECK (visible_text(entity_id) <> ''),
    CONSTRAINT outbox_events_payload_check CHECK (octet_length(payload::text) <= 1048576),
    CONSTRAINT outbox_events_lease_expires_at_check CHECK ((claim_id IS NULL) = (lease_expires_at IS NULL)),
    CONSTRAINT outbox_events_retry_count_check CHECK (retry_count >= 0),
    CONSTRAINT outbox_events_dead_at_check CHECK (dead_at IS NULL OR published_at IS NULL)
)
-- A claim changes no indexed column: with room on the page it writes no index entry (HOT). What is published is dead
-- to the indexes of what is open, which vacuum has to clear early.
WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
COMMENT ON INDEX outbox_events_pkey IS 'A message by its id: outbox().find, and the relay''s marks.';
COMMENT ON INDEX outbox_events_event_id_key IS 'An event is told once: outbox().find_by_event_id, bedplate outbox replay --id.';
CREATE INDEX outbox_events_available_at_idx ON outbox_events (tenant_id, available_at, sequence)
    WHERE published_at IS NULL AND dead_at IS NULL;
COMMENT ON INDEX outbox_events_available_at_idx IS 'Open messages that are due, first those that are so for longest: what the relay claims.';
CREATE INDEX outbox_events_entity_id_idx ON outbox_events (tenant_id, entity_type, entity_id, sequence)
    WHERE published_at IS NULL AND dead_at IS NULL;
COMMENT ON INDEX outbox_events_entity_id_idx IS 'Open messages of an entity in their order: none is claimed before an earlier one.';
CREATE INDEX outbox_events_dead_at_idx ON outbox_events (tenant_id, dead_at, sequence) WHERE dead_at IS NOT NULL;
COMMENT ON INDEX outbox_events_dead_at_idx IS 'Dead letters: bedplate outbox status and replay.';
CREATE INDEX outbox_events_published_at_idx ON outbox_events (published_at) WHERE published_at IS NOT NULL;
COMMENT ON INDEX outbox_events_published_at_idx IS 'Published messages of all tenants by age, for the prune and bedplate outbox status.';

COMMENT ON TABLE outbox_events IS 'Messages to the outside, written in the transaction of what they tell and published by a relay, at least once.';
COMMENT ON COLUMN outbox_events.tenant_id IS 'The tenant that it is about; it may be gone.';
COMMENT ON COLUMN outbox_events.id IS 'Unique inside the tenant.';
COMMENT ON COLUMN outbox_events.sequence IS 'Orders the messages of one entity.';
COMMENT ON COLUMN outbox_events.event_type IS 'What happened: business_idea.submitted.';
COMMENT ON COLUMN outbox_events.event_id IS 'What receivers know it by, and know it again by; unique inside the tenant.';
COMMENT ON COLUMN outbox_events.correlation_id IS 'The request it was part of (setting app.correlation_id).';
COMMENT ON COLUMN outbox_events.entity_type IS 'What it happened to, usually a table.';
COMMENT ON COLUMN outbox_events.entity_id IS 'To which; messages of one entity go out in their order.';
COMMENT ON COLUMN outbox_events.payload IS 'What is sent.';
COMMENT ON COLUMN outbox_events.created_at IS 'When the row was made.';
COMMENT ON COLUMN outbox_events.available_at IS 'Not claimed before: a delivery put off, or the next attempt. Later messages of the entity wait for it.';
COMMENT ON COLUMN outbox_events.claimed_by IS 'The relay worker that claimed it last.';
COMMENT ON COLUMN outbox_events.claim_id IS 'The claim that holds it, a new one each time: a late worker''s marks name another and have no effect.';
COMMENT ON COLUMN outbox_events.lease_expires_at IS 'From then on another worker may take it over.';
COMMENT ON COLUMN outbox_events.retry_count IS 'How often it failed.';
COMMENT ON COLUMN outbox_events.last_error IS 'What the sink said when it failed last, cut to 2000 characters.';
COMMENT ON COLUMN outbox_events.published_at IS 'When the sink took it; kept for some days after.';
COMMENT ON COLUMN outbox_events.dead_at IS 'When the relay gave it up; then later messages of the entity go on. bedplate outbox replay brings it back.';

ALTER TABLE outbox_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE outbox_events FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON outbox_events TO bedplate_app
    USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
COMMENT ON POLICY tenant ON outbox_events IS 'A tenant sees its own rows.';
-- Not USING (true): the owner inherits from bedplate_system and would see every row.
CREATE POLICY system ON outbox_events TO bedplate_system
    USING (current_user = 'bedplate_system') WITH CHECK (current_user = 'bedplate_system');
COMMENT ON POLICY system ON outbox_events IS 'Work across tenants, after SET ROLE.';

-- Whether it was published is for the relay alone to say.
GRANT SELECT, INSERT (tenant_id, id, event_type, event_id, entity_type, entity_id, payload, available_at)
    ON outbox_events TO bedplate_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON outbox_events TO bedplate_system;

-- Grants alone protect it: it knows no tenant.
CREATE TABLE outbox_stopped_endpoints (
    id varchar(64) NOT NULL,
    name varchar(300) NOT NULL,
    reason text NOT NULL,
    stopped_at timestamptz NOT NULL DEFAULT now()
        CONSTRAINT outbox_stopped_endpoints_stopped_at_time CHECK (stopped_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    CONSTRAINT outbox_stopped_endpoints_pkey PRIMARY KEY (id),
    CONSTRAINT outbox_stopped_endpoints_id_check CHECK (btrim(id) <> ''),
    CONSTRAINT outbox_stopped_endpoints_name_check CHECK (btrim(name) <> '')
);
COMMENT ON INDEX outbox_stopped_endpoints_pkey IS 'One row an endpoint: relays ask for their own before each claim.';
COMMENT ON TABLE outbox_stopped_endpoints IS 'Endpoints that asked for no more messages (410 Gone). Relays send nothing to them until bedplate outbox start deletes the row.';
COMMENT ON COLUMN outbox_stopped_endpoints.id IS 'The endpoint: the first 16 hexadecimal digits of the SHA-256 of its URL, which may hold a token.';
COMMENT ON COLUMN outbox_stopped_endpoints.name IS 'Scheme, host and port, for people.';
COMMENT ON COLUMN outbox_stopped_endpoints.reason IS 'What it answered.';
COMMENT ON COLUMN outbox_stopped_endpoints.stopped_at IS 'When it answered that.';
GRANT SELECT, INSERT, DELETE ON outbox_stopped_endpoints TO bedplate_system;
