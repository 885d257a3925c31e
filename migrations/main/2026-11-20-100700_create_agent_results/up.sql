CREATE TABLE agent_results (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    evaluation_id uuid NOT NULL,
    agent_type text NOT NULL,
    status text NOT NULL DEFAULT 'pending',
    input_data jsonb
        CONSTRAINT agent_results_input_data_json CHECK (json_is_readable(input_data)),
    output_data jsonb
        CONSTRAINT agent_results_output_data_json CHECK (json_is_readable(output_data)),
    score float8,
    insights jsonb
        CONSTRAINT agent_results_insights_json CHECK (json_is_readable(insights)),
    started_at timestamptz
        CONSTRAINT agent_results_started_at_time CHECK (started_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    completed_at timestamptz
        CONSTRAINT agent_results_completed_at_time CHECK (completed_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    error_message text,
    created_at timestamptz NOT NULL DEFAULT now()
        CONSTRAINT agent_results_created_at_time CHECK (created_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    updated_at timestamptz NOT NULL DEFAULT now()
        CONSTRAINT agent_results_updated_at_time CHECK (updated_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    CONSTRAINT agent_results_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT agent_results_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE,
    CONSTRAINT agent_results_evaluation_id_fkey FOREIGN KEY (tenant_id, evaluation_id)
        REFERENCES evaluations (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT agent_results_agent_type_key UNIQUE (tenant_id, evaluation_id, agent_type),
    CONSTRAINT agent_results_agent_type_check CHECK (agent_type IN ('market-research',
        'competitive-analysis', 'customer-research', 'financial-analysis', 'technical-feasibility',
        'risk-assessment', 'synthesis')),
    CONSTRAINT agent_results_status_check CHECK (status IN ('pending', 'running', 'completed', 'failed')),
    -- NaN is greater than 100 in PostgreSQL, so it is refused as well.
    CONSTRAINT agent_results_score_check CHECK (score BETWEEN 0 AND 100),
    CONSTRAINT agent_results_status_times CHECK (CASE status
        WHEN 'pending' THEN started_at IS NULL AND completed_at IS NULL
        WHEN 'running' THEN started_at IS NOT NULL AND completed_at IS NULL
        WHEN 'completed' THEN started_at IS NOT NULL AND completed_at IS NOT NULL
            AND started_at <= completed_at AND output_data IS NOT NULL
        WHEN 'failed' THEN completed_at IS NOT NULL AND error_message IS NOT NULL
            AND coalesce(started_at <= completed_at, true)
        ELSE false END)
);
CREATE INDEX agent_results_status_idx ON agent_results (tenant_id, status, created_at, id);
COMMENT ON INDEX agent_results_status_idx IS 'Results of a status newest first.';
CREATE INDEX agent_results_agent_type_idx ON agent_results (tenant_id, agent_type, created_at, id);
COMMENT ON INDEX agent_results_agent_type_idx IS 'Results of an agent newest first.';
CREATE INDEX agent_results_created_at_idx ON agent_results (tenant_id, created_at, id);
COMMENT ON INDEX agent_results_created_at_idx IS 'Results newest first.';
CREATE INDEX agent_results_input_data_idx ON agent_results USING gin (input_data jsonb_path_ops);
COMMENT ON INDEX agent_results_input_data_idx IS 'Results by what their input holds, by search_agent_results().';
CREATE INDEX agent_results_output_data_idx ON agent_results USING gin (output_data jsonb_path_ops);
COMMENT ON INDEX agent_results_output_data_idx IS 'Results by what their output holds, by search_agent_results().';
CREATE INDEX agent_results_insights_idx ON agent_results USING gin (insights jsonb_path_ops);
COMMENT ON INDEX agent_results_insights_idx IS 'Results by what their insights hold, by search_agent_results().';

COMMENT ON TABLE agent_results IS 'What one agent found out about one idea, in one evaluation.';
COMMENT ON COLUMN agent_results.tenant_id IS 'The tenant of the idea.';
COMMENT ON COLUMN agent_results.id IS 'Unique inside the tenant.';
COMMENT ON COLUMN agent_results.evaluation_id IS 'The evaluation it belongs to.';
COMMENT ON COLUMN agent_results.agent_type IS 'Which agent: market-research, competitive-analysis, customer-research, financial-analysis, technical-feasibility, risk-assessment or synthesis; each once an evaluation.';
COMMENT ON COLUMN agent_results.status IS 'pending, running, completed or failed.';
COMMENT ON COLUMN agent_results.input_data IS 'What the agent was given.';
COMMENT ON COLUMN agent_results.output_data IS 'What the agent answered; set when completed.';
COMMENT ON COLUMN agent_results.score IS '0 to 100; NULL: the agent gave none.';
COMMENT ON COLUMN agent_results.insights IS 'What is worth telling, for people.';
COMMENT ON COLUMN agent_results.started_at IS 'When the agent started (the last time).';
COMMENT ON COLUMN agent_results.completed_at IS 'When the agent ended, completed or failed.';
COMMENT ON COLUMN agent_results.error_message IS 'Why it failed.';
COMMENT ON COLUMN agent_results.created_at IS 'When the row was made.';
COMMENT ON COLUMN agent_results.updated_at IS 'When the row last changed (trigger).';

CREATE TRIGGER update_updated_at BEFORE UPDATE ON agent_results
    FOR EACH ROW EXECUTE FUNCTION update_updated_at();
CREATE TRIGGER refuse_illegal_transition BEFORE UPDATE ON agent_results
    FOR EACH ROW WHEN (OLD.status <> NEW.status AND current_user <> 'bedplate_system')
    EXECUTE FUNCTION refuse_illegal_transition('agent_results',
        'pending>running', 'pending>failed',
        'running>completed', 'running>failed', 'running>pending',
        'failed>pending');

ALTER TABLE agent_results ENABLE ROW LEVEL SECURITY;
ALTER TABLE agent_results FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON agent_results TO bedplate_app
    USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
COMMENT ON POLICY tenant ON agent_results IS 'A tenant sees its own rows.';
CREATE POLICY system ON agent_results TO bedplate_system
    USING (current_user = 'bedplate_system') WITH CHECK (current_user = 'bedplate_system');
COMMENT ON POLICY system ON agent_results IS 'Work across tenants, after SET ROLE.';
CREATE POLICY definer ON agent_results FOR SELECT TO bedplate_definer USING (true);
COMMENT ON POLICY definer ON agent_results IS 'For search_agent_results(), which adds the tenant itself.';

GRANT SELECT, INSERT, UPDATE ON agent_results TO bedplate_app, bedplate_system;
GRANT SELECT (tenant_id, id, input_data, output_data, insights) ON agent_results TO bedplate_definer;

-- SECURITY DEFINER, because @> is not leakproof: under a tenant's policy it could not use its index.
-- One query a column, because OR would keep the planner from all three indexes.
CREATE FUNCTION search_agent_results(field text, pattern jsonb) RETURNS SETOF uuid
    LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 100
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    tenant uuid := public.require_tenant();
BEGIN
    CASE field
        WHEN 'input_data' THEN
            RETURN QUERY SELECT r.id FROM public.agent_results AS r
                          WHERE r.tenant_id = tenant AND r.input_data @> pattern;
        WHEN 'output_data' THEN
            RETURN QUERY SELECT r.id FROM public.agent_results AS r
                          WHERE r.tenant_id = tenant AND r.output_data @> pattern;
        WHEN 'insights' THEN
            RETURN QUERY SELECT r.id FROM public.agent_results AS r
                          WHERE r.tenant_id = tenant AND r.insights @> pattern;
        ELSE
            RAISE EXCEPTION 'agent_results has no JSON column %', field
                USING ERRCODE = 'check_violation', CONSTRAINT = 'agent_results_field';
    END CASE;
END
$$;
COMMENT ON FUNCTION search_agent_results(text, jsonb) IS
    'Ids of this tenant''s agent results whose input_data, output_data or insights contain a pattern (@>).';
REVOKE EXECUTE ON FUNCTION search_agent_results(text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION search_agent_results(text, jsonb) TO bedplate_app;
SELECT give_to_definer('search_agent_results(text, jsonb)');
