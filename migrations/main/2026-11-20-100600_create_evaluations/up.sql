CREATE TABLE evaluations (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    business_idea_id uuid NOT NULL,
    status text NOT NULL DEFAULT 'pending',
    priority text NOT NULL DEFAULT 'normal',
    started_at timestamptz
        CONSTRAINT evaluations_started_at_time CHECK (started_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    completed_at timestamptz
        CONSTRAINT evaluations_completed_at_time CHECK (completed_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    results jsonb
        CONSTRAINT evaluations_results_json CHECK (json_is_readable(results)),
    error_message text,
    attempts int NOT NULL DEFAULT 0,
    claimed_by varchar(255),
    lease_expires_at timestamptz
        CONSTRAINT evaluations_lease_expires_at_time CHECK (lease_expires_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    created_at timestamptz NOT NULL DEFAULT now()
        CONSTRAINT evaluations_created_at_time CHECK (created_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    updated_at timestamptz NOT NULL DEFAULT now()
        CONSTRAINT evaluations_updated_at_time CHECK (updated_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    CONSTRAINT evaluations_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT evaluations_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE,
    CONSTRAINT evaluations_business_idea_id_fkey FOREIGN KEY (tenant_id, business_idea_id)
        REFERENCES business_ideas (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT evaluations_status_check CHECK (status IN ('pending', 'analyzing', 'completed', 'failed')),
    CONSTRAINT evaluations_priority_check CHECK (priority IN ('low', 'normal', 'high')),
    CONSTRAINT evaluations_attempts_check CHECK (attempts >= 0),
    CONSTRAINT evaluations_results_check CHECK (jsonb_typeof(results) = 'object'),
    -- Status, times and lease agree. Each branch is true or false, never NULL: a CHECK passes NULL.
    CONSTRAINT evaluations_status_times CHECK (CASE status
        WHEN 'pending' THEN started_at IS NULL AND completed_at IS NULL AND lease_expires_at IS NULL
        WHEN 'analyzing' THEN started_at IS NOT NULL AND completed_at IS NULL
            AND claimed_by IS NOT NULL AND lease_expires_at IS NOT NULL
        WHEN 'completed' THEN started_at IS NOT NULL AND completed_at IS NOT NULL
            AND started_at <= completed_at AND results IS NOT NULL AND lease_expires_at IS NULL
        WHEN 'failed' THEN completed_at IS NOT NULL AND error_message IS NOT NULL AND lease_expires_at IS NULL
            AND coalesce(started_at <= completed_at, true)
        ELSE false END)
);
CREATE UNIQUE INDEX evaluations_business_idea_id_open_key ON evaluations (tenant_id, business_idea_id)
    WHERE status IN ('pending', 'analyzing');
COMMENT ON INDEX evaluations_business_idea_id_open_key IS 'At most one open evaluation an idea.';
CREATE INDEX evaluations_business_idea_id_idx ON evaluations (tenant_id, business_idea_id, created_at, id);
COMMENT ON INDEX evaluations_business_idea_id_idx IS 'Evaluations of an idea newest first; its foreign key.';
CREATE INDEX evaluations_status_idx ON evaluations (tenant_id, status, created_at, id);
COMMENT ON INDEX evaluations_status_idx IS 'Evaluations of a status newest first.';
CREATE INDEX evaluations_created_at_idx ON evaluations (tenant_id, created_at, id);
COMMENT ON INDEX evaluations_created_at_idx IS 'Evaluations newest first.';
CREATE INDEX evaluations_pending_idx ON evaluations
    (tenant_id, (CASE priority WHEN 'high' THEN 0 WHEN 'normal' THEN 1 ELSE 2 END), created_at, id)
    WHERE status = 'pending';
COMMENT ON INDEX evaluations_pending_idx IS 'The next pending evaluation by priority, then age.';
CREATE INDEX evaluations_lease_expires_at_idx ON evaluations (tenant_id, lease_expires_at)
    WHERE status = 'analyzing';
COMMENT ON INDEX evaluations_lease_expires_at_idx IS 'Evaluations whose worker let the lease expire.';

COMMENT ON TABLE evaluations IS 'One pass of the agents over an idea; also the queue of their workers.';
COMMENT ON COLUMN evaluations.tenant_id IS 'The tenant of the idea.';
COMMENT ON COLUMN evaluations.id IS 'Unique inside the tenant.';
COMMENT ON COLUMN evaluations.business_idea_id IS 'The idea under evaluation.';
COMMENT ON COLUMN evaluations.status IS 'pending, analyzing, completed or failed.';
COMMENT ON COLUMN evaluations.priority IS 'low, normal or high: high ones are claimed first.';
COMMENT ON COLUMN evaluations.started_at IS 'When a worker first claimed it.';
COMMENT ON COLUMN evaluations.completed_at IS 'When it ended, completed or failed.';
COMMENT ON COLUMN evaluations.results IS 'What the agents found, aggregated; an object, set when completed.';
COMMENT ON COLUMN evaluations.error_message IS 'Why it failed.';
COMMENT ON COLUMN evaluations.attempts IS 'How often it was claimed. Also the fencing token of the lease.';
COMMENT ON COLUMN evaluations.claimed_by IS 'The worker that holds it, or held it last.';
COMMENT ON COLUMN evaluations.lease_expires_at IS 'From then on another worker may take it over.';
COMMENT ON COLUMN evaluations.created_at IS 'When the row was made.';
COMMENT ON COLUMN evaluations.updated_at IS 'When the row last changed (trigger).';

CREATE TRIGGER update_updated_at BEFORE UPDATE ON evaluations
    FOR EACH ROW EXECUTE FUNCTION update_updated_at();
CREATE TRIGGER refuse_illegal_transition BEFORE UPDATE ON evaluations
    FOR EACH ROW WHEN (OLD.status <> NEW.status AND current_user <> 'bedplate_system')
    EXECUTE FUNCTION refuse_illegal_transition('evaluations',
        'pending>analyzing', 'pending>failed',
        'analyzing>completed', 'analyzing>failed');

ALTER TABLE evaluations ENABLE ROW LEVEL SECURITY;
ALTER TABLE evaluations FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON evaluations TO bedplate_app
    USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
COMMENT ON POLICY tenant ON evaluations IS 'A tenant sees its own rows.';
CREATE POLICY system ON evaluations TO bedplate_system
    USING (current_user = 'bedplate_system') WITH CHECK (current_user = 'bedplate_system');
COMMENT ON POLICY system ON evaluations IS 'Work across tenants, after SET ROLE.';

GRANT SELECT, INSERT, UPDATE ON evaluations TO bedplate_app, bedplate_system;
