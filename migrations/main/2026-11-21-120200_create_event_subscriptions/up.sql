-- No foreign key to tenants: the nil UUID stands for all of them. delete_events_of_tenant() deletes.
CREATE TABLE event_subscriptions (
    tenant_id uuid NOT NULL,
    name varchar(255) NOT NULL,
    partition int NOT NULL DEFAULT 0,
    partitions int NOT NULL DEFAULT 1,
    partition_by varchar(300) NOT NULL DEFAULT 'aggregate',
    query jsonb NOT NULL
        CONSTRAINT event_subscriptions_query_json CHECK (json_is_readable(query)),
    position bigint NOT NULL DEFAULT 0,
    claimed_by varchar(255),
    claims int NOT NULL DEFAULT 0,
    lease_expires_at timestamptz
        CONSTRAINT event_subscriptions_lease_expires_at_time CHECK (lease_expires_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    created_at timestamptz NOT NULL DEFAULT now()
        CONSTRAINT event_subscriptions_created_at_time CHECK (created_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    updated_at timestamptz NOT NULL DEFAULT now()
        CONSTRAINT event_subscriptions_updated_at_time CHECK (updated_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    CONSTRAINT event_subscriptions_pkey PRIMARY KEY (tenant_id, name, partition),
    CONSTRAINT event_subscriptions_name_check CHECK (visible_text(name) <> ''),
    CONSTRAINT event_subscriptions_partition_check CHECK (partition >= 0 AND partition < partitions),
    CONSTRAINT event_subscriptions_query_check CHECK (is_event_condition(jsonb_build_object('fail_if_events_match', query))),
    CONSTRAINT event_subscriptions_position_check CHECK (position >= 0),
    CONSTRAINT event_subscriptions_claims_check CHECK (claims >= 0),
    CONSTRAINT event_subscriptions_claimed_by_check CHECK ((claimed_by IS NULL) = (lease_expires_at IS NULL))
);
COMMENT ON INDEX event_subscriptions_pkey IS 'One row a share of a subscription; those of a subscription by their age.';
COMMENT ON TABLE event_subscriptions IS 'Where subscribers stand. A subscription is shared by its workers in partitions; a worker has one for as long as its lease.';
COMMENT ON COLUMN event_subscriptions.tenant_id IS 'Whose events; the nil UUID: those of all tenants.';
COMMENT ON COLUMN event_subscriptions.name IS 'Who reads them: mailer.';
COMMENT ON COLUMN event_subscriptions.partition IS 'Which share: events whose partition key has this hash modulo partitions.';
COMMENT ON COLUMN event_subscriptions.partitions IS 'How many shares there are.';
COMMENT ON COLUMN event_subscriptions.partition_by IS 'The partition key: aggregate, tenant, or tag: and the key of a tag. Another one would put events into shares that are past them.';
COMMENT ON COLUMN event_subscriptions.query IS 'The events that it reads, as an array of items {"types": […], "tags": […]}, sorted and without doubles. Under another query it would be past events that it had not asked for.';
COMMENT ON COLUMN event_subscriptions.position IS 'Up to here everything is done.';
COMMENT ON COLUMN event_subscriptions.claimed_by IS 'The worker that has it.';
COMMENT ON COLUMN event_subscriptions.claims IS 'Counts the claims: the fencing token. What a worker writes names the claim that it made.';
COMMENT ON COLUMN event_subscriptions.lease_expires_at IS 'Until then nobody else gets it.';
COMMENT ON COLUMN event_subscriptions.created_at IS 'When the row was made.';
COMMENT ON COLUMN event_subscriptions.updated_at IS 'When the row last changed (trigger).';
CREATE TRIGGER update_updated_at BEFORE UPDATE ON event_subscriptions
    FOR EACH ROW EXECUTE FUNCTION update_updated_at();

ALTER TABLE event_subscriptions ENABLE ROW LEVEL SECURITY;
ALTER TABLE event_subscriptions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON event_subscriptions TO bedplate_app
    USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
COMMENT ON POLICY tenant ON event_subscriptions IS 'A tenant sees its own rows.';
CREATE POLICY system ON event_subscriptions TO bedplate_system
    USING (current_user = 'bedplate_system') WITH CHECK (current_user = 'bedplate_system');
COMMENT ON POLICY system ON event_subscriptions IS 'Work across tenants, after SET ROLE.';
CREATE POLICY definer ON event_subscriptions TO bedplate_definer USING (true) WITH CHECK (true);
COMMENT ON POLICY definer ON event_subscriptions IS 'For delete_events_of_tenant().';
GRANT SELECT, INSERT, UPDATE, DELETE ON event_subscriptions TO bedplate_app, bedplate_system;
GRANT SELECT (tenant_id), DELETE ON event_subscriptions TO bedplate_definer;

-- Under the tenant's lock: an append that is under way ends first, one that waits finds no tenant.
CREATE FUNCTION delete_events_of_tenant() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(uuid_hash_extended(OLD.id, 0));
    DELETE FROM public.event_subscriptions WHERE tenant_id = OLD.id;
    DELETE FROM public.event_tags WHERE tenant_id = OLD.id;
    DELETE FROM public.events WHERE tenant_id = OLD.id;
    -- Its subscribers end.
    NOTIFY bedplate_events;
    RETURN OLD;
END
$$;
COMMENT ON FUNCTION delete_events_of_tenant() IS 'Trigger: the events of a tenant go with it.';
REVOKE EXECUTE ON FUNCTION delete_events_of_tenant() FROM PUBLIC;
SELECT give_to_definer('delete_events_of_tenant()');
CREATE TRIGGER delete_events BEFORE DELETE ON tenants FOR EACH ROW EXECUTE FUNCTION delete_events_of_tenant();
