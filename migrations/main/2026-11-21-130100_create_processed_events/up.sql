-- No foreign key to tenants, for the same reasons as outbox_events; rows leave with their age.
CREATE TABLE processed_events (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    consumer_group varchar(255) NOT NULL,
    event_id uuid NOT NULL,
    event_type varchar(255) NOT NULL,
    processed_at timestamptz NOT NULL DEFAULT now()
        CONSTRAINT processed_events_processed_at_time CHECK (processed_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    CONSTRAINT processed_events_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT processed_events_event_id_key UNIQUE (tenant_id, consumer_group, event_id),
    CONSTRAINT processed_events_consumer_group_check CHECK (visible_text(consumer_group) <> ''),
    CONSTRAINT processed_events_event_type_check CHECK (visible_text(event_type) <> '')
);
COMMENT ON INDEX processed_events_pkey IS 'A row by its id.';
COMMENT ON INDEX processed_events_event_id_key IS 'One effect an event and group: process_once.';
CREATE INDEX processed_events_processed_at_idx ON processed_events (processed_at);
COMMENT ON INDEX processed_events_processed_at_idx IS 'Old marks of all tenants, for the prune.';

COMMENT ON TABLE processed_events IS 'Which consumer has done what an event asks for: a second delivery has no effect.';
COMMENT ON COLUMN processed_events.tenant_id IS 'The tenant of the event; it may be gone.';
COMMENT ON COLUMN processed_events.id IS 'Unique inside the tenant.';
COMMENT ON COLUMN processed_events.consumer_group IS 'Who processed it; another group does so for itself.';
COMMENT ON COLUMN processed_events.event_id IS 'The event, as its sender names it.';
COMMENT ON COLUMN processed_events.event_type IS 'What happened.';
COMMENT ON COLUMN processed_events.processed_at IS 'When; the effect was written in the same transaction.';

ALTER TABLE processed_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE processed_events FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON processed_events TO bedplate_app
    USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
COMMENT ON POLICY tenant ON processed_events IS 'A tenant sees its own rows.';
CREATE POLICY system ON processed_events TO bedplate_system
    USING (current_user = 'bedplate_system') WITH CHECK (current_user = 'bedplate_system');
COMMENT ON POLICY system ON processed_events IS 'Work across tenants, after SET ROLE.';

GRANT SELECT, INSERT ON processed_events TO bedplate_app;
GRANT SELECT, INSERT, DELETE ON processed_events TO bedplate_system;
