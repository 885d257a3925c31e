-- No foreign key to tenants: its check locks the tenant's row with every append, and writers of one tenant would
-- queue for that row. append_events() looks whether the tenant is there, and delete_events_of_tenant() deletes.
-- No CHECK either: PostgreSQL reads each anew for every statement; append_events() alone writes, and checks.
CREATE TABLE events (
    tenant_id uuid NOT NULL,
    position bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    event_type varchar(255) NOT NULL,
    event_data jsonb NOT NULL
        CONSTRAINT events_event_data_json CHECK (json_is_readable(event_data)),
    metadata jsonb NOT NULL DEFAULT '{}'
        CONSTRAINT events_metadata_json CHECK (json_is_readable(metadata)),
    tags text[] NOT NULL DEFAULT '{}',
    aggregate_type varchar(255),
    aggregate_id uuid,
    event_version int,
    correlation_id uuid,
    causation_id uuid,
    -- By the clock, not by the transaction's begin: the order of times is nearly that of positions.
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    transaction_id xid8 NOT NULL DEFAULT pg_current_xact_id(),
    CONSTRAINT events_pkey PRIMARY KEY (tenant_id, position),
    CONSTRAINT events_id_key UNIQUE (tenant_id, id)
);
COMMENT ON INDEX events_pkey IS 'The tenant''s events in their order: events().read, subscriptions of a tenant, the condition "no event at all".';
COMMENT ON INDEX events_id_key IS 'One event an id and tenant: an append that is sent twice is refused. An event by id: events().find.';
CREATE INDEX events_position_idx ON events (position);
COMMENT ON INDEX events_position_idx IS 'All tenants'' events in their order: subscriptions of all tenants.';
CREATE INDEX events_event_type_idx ON events (tenant_id, event_type, position);
COMMENT ON INDEX events_event_type_idx IS 'Events of a type in their order: queries and conditions by type alone.';
CREATE UNIQUE INDEX events_aggregate_id_key ON events (tenant_id, aggregate_id, event_version)
    WHERE aggregate_id IS NOT NULL;
COMMENT ON INDEX events_aggregate_id_key IS 'One event a version of a stream. A stream in its order: events().read_stream.';
CREATE INDEX events_correlation_id_idx ON events (tenant_id, correlation_id, position) WHERE correlation_id IS NOT NULL;
COMMENT ON INDEX events_correlation_id_idx IS 'Events of a request, or of what it led to, in their order.';
CREATE INDEX events_created_at_idx ON events USING brin (created_at) WITH (autosummarize = on);
COMMENT ON INDEX events_created_at_idx IS 'Events of a range of time.';

COMMENT ON TABLE events IS 'What happened, in order. Append-only: written by append_events() alone, in every language; nobody changes an event.';
COMMENT ON COLUMN events.tenant_id IS 'The tenant of the event.';
COMMENT ON COLUMN events.position IS 'Its place in the order of all events of all tenants. Grows with gaps; what is committed later may have a lower one, so readers stop at event_head().';
COMMENT ON COLUMN events.id IS 'Unique inside the tenant.';
COMMENT ON COLUMN events.event_type IS 'What happened: StudentEnrolled.';
COMMENT ON COLUMN events.event_data IS 'The facts, any JSON.';
COMMENT ON COLUMN events.metadata IS 'An object: user_id, schema_version (1 where it is missing), and what the application adds.';
COMMENT ON COLUMN events.tags IS 'What it is about, key:value each, sorted: course:c1. Found by event_tags.';
COMMENT ON COLUMN events.aggregate_type IS 'Of which kind the stream is; all three of aggregate_type, aggregate_id, event_version are set or none.';
COMMENT ON COLUMN events.aggregate_id IS 'Which stream it belongs to.';
COMMENT ON COLUMN events.event_version IS 'Its place in the stream: 1 for the first, without gaps.';
COMMENT ON COLUMN events.correlation_id IS 'The request that led to it (setting app.correlation_id).';
COMMENT ON COLUMN events.causation_id IS 'The event that led to it.';
COMMENT ON COLUMN events.created_at IS 'When it was appended, by the clock.';
COMMENT ON COLUMN events.transaction_id IS 'Which transaction wrote it: what a snapshot has seen. No order: after a dump and restore they begin anew.';

-- Not the tags themselves: a hash is short, of one length, and under a policy it can use its index.
CREATE TABLE event_tags (
    tenant_id uuid NOT NULL,
    tag bigint NOT NULL,
    position bigint NOT NULL,
    CONSTRAINT event_tags_pkey PRIMARY KEY (tenant_id, tag, position)
);
COMMENT ON INDEX event_tags_pkey IS 'Events of a tag in their order: queries and conditions by tags.';
COMMENT ON TABLE event_tags IS 'Which events have a tag. Written by append_events() alone; whoever reads it compares events.tags too, for two tags may have one hash.';
COMMENT ON COLUMN event_tags.tenant_id IS 'The tenant of the event.';
COMMENT ON COLUMN event_tags.tag IS 'event_tag_hash() of the tag.';
COMMENT ON COLUMN event_tags.position IS 'Of the event.';

CREATE FUNCTION event_tag_hash(tag text) RETURNS bigint
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN hashtextextended(tag COLLATE "C", 0);
COMMENT ON FUNCTION event_tag_hash(text) IS 'What event_tags holds of a tag.';
REVOKE EXECUTE ON FUNCTION event_tag_hash(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_tag_hash(text) TO bedplate_app, bedplate_system, bedplate_definer;

ALTER TABLE events ENABLE ROW LEVEL SECURITY;
ALTER TABLE events FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON events TO bedplate_app
    USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
COMMENT ON POLICY tenant ON events IS 'A tenant sees its own rows.';
CREATE POLICY system ON events TO bedplate_system
    USING (current_user = 'bedplate_system') WITH CHECK (current_user = 'bedplate_system');
COMMENT ON POLICY system ON events IS 'Work across tenants, after SET ROLE.';
CREATE POLICY definer ON events TO bedplate_definer USING (true) WITH CHECK (true);
COMMENT ON POLICY definer ON events IS 'For append_events(), which adds the tenant itself, and delete_events_of_tenant().';
GRANT SELECT ON events TO bedplate_app, bedplate_system;
GRANT SELECT, INSERT, DELETE ON events TO bedplate_definer;

ALTER TABLE event_tags ENABLE ROW LEVEL SECURITY;
ALTER TABLE event_tags FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON event_tags TO bedplate_app
    USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
COMMENT ON POLICY tenant ON event_tags IS 'A tenant sees its own rows.';
CREATE POLICY system ON event_tags TO bedplate_system
    USING (current_user = 'bedplate_system') WITH CHECK (current_user = 'bedplate_system');
COMMENT ON POLICY system ON event_tags IS 'Work across tenants, after SET ROLE.';
CREATE POLICY definer ON event_tags TO bedplate_definer USING (true) WITH CHECK (true);
COMMENT ON POLICY definer ON event_tags IS 'For append_events(), which adds the tenant itself, and delete_events_of_tenant().';
GRANT SELECT ON event_tags TO bedplate_app, bedplate_system;
GRANT SELECT, INSERT, DELETE ON event_tags TO bedplate_definer;

-- An owner may do everything by default. It can grant itself these again, by DDL; the triggers still refuse.
REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON events, event_tags FROM CURRENT_USER;
-- The head of the order is read from the sequence.
GRANT SELECT ON SEQUENCE events_position_seq TO bedplate_app, bedplate_system;
GRANT SELECT, USAGE ON SEQUENCE events_position_seq TO bedplate_definer;

-- The table's name comes as the first argument: on a distributed table TG_TABLE_NAME is a shard's.
CREATE FUNCTION refuse_change_of_events() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_user = 'bedplate_definer' THEN
        RETURN NULL; -- delete_events_of_tenant()
    END IF;
    RAISE EXCEPTION 'permission denied: % is append-only, % is refused', TG_ARGV[0], TG_OP
        USING ERRCODE = 'insufficient_privilege', HINT = 'Append an event that says what is different now.';
END
$$;
COMMENT ON FUNCTION refuse_change_of_events() IS 'Trigger: events are append-only, for every role.';
REVOKE EXECUTE ON FUNCTION refuse_change_of_events() FROM PUBLIC;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_events('events');
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON event_tags
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_events('event_tags');
-- ALWAYS: a session in replication's mode, which skips other triggers, is refused too.
ALTER TABLE events ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE event_tags ENABLE ALWAYS TRIGGER append_only;
