CREATE TABLE form_submissions (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    form_definition_id uuid NOT NULL,
    form_version int NOT NULL,
    data jsonb NOT NULL
        CONSTRAINT form_submissions_data_json CHECK (json_is_readable(data)),
    status text NOT NULL DEFAULT 'draft',
    -- What is no text, or too long for an index, is no title: an answer is never refused because of this column.
    title text GENERATED ALWAYS AS (
        CASE WHEN jsonb_typeof(data -> 'title') = 'string' AND char_length(data ->> 'title') <= 255
             THEN data ->> 'title' END) STORED,
    priority int GENERATED ALWAYS AS (
        CASE WHEN jsonb_typeof(data -> 'priority') = 'number' THEN
            CASE WHEN (data -> 'priority')::numeric BETWEEN -2147483648 AND 2147483647
                  AND (data -> 'priority')::numeric % 1 = 0
                 THEN (data -> 'priority')::int END
        END) STORED,
    lock_version int NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now()
        CONSTRAINT form_submissions_created_at_time CHECK (created_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    updated_at timestamptz NOT NULL DEFAULT now()
        CONSTRAINT form_submissions_updated_at_time CHECK (updated_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    CONSTRAINT form_submissions_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT form_submissions_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE,
    CONSTRAINT form_submissions_form_definition_id_fkey FOREIGN KEY (tenant_id, form_definition_id, form_version)
        REFERENCES form_definitions (tenant_id, id, version),
    CONSTRAINT form_submissions_status_check CHECK (status IN ('draft', 'submitted', 'archived')),
    CONSTRAINT form_submissions_lock_version_check CHECK (lock_version >= 0)
);
COMMENT ON INDEX form_submissions_pkey IS
    'One submission an id and tenant. A submission by id: form_submissions().find, save, submit, amend, archive.';
CREATE INDEX form_submissions_form_definition_id_idx ON form_submissions (tenant_id, form_definition_id, form_version);
COMMENT ON INDEX form_submissions_form_definition_id_idx IS 'Foreign key to form_definitions.';
CREATE INDEX form_submissions_form_created_at_idx ON form_submissions (tenant_id, form_definition_id, created_at, id);
COMMENT ON INDEX form_submissions_form_created_at_idx IS 'Submissions of a form newest first.';
CREATE INDEX form_submissions_form_status_idx ON form_submissions (tenant_id, form_definition_id, status, created_at, id);
COMMENT ON INDEX form_submissions_form_status_idx IS 'Submissions of a form and a status newest first.';
CREATE INDEX form_submissions_form_priority_idx ON form_submissions (tenant_id, form_definition_id, priority, created_at, id);
COMMENT ON INDEX form_submissions_form_priority_idx IS 'Submissions of a form by priority; those of one priority newest first.';
CREATE INDEX form_submissions_form_title_idx ON form_submissions (tenant_id, form_definition_id, title, created_at, id);
COMMENT ON INDEX form_submissions_form_title_idx IS 'Submissions of a form by title; those of one title newest first.';
CREATE INDEX form_submissions_created_at_idx ON form_submissions (tenant_id, created_at, id);
COMMENT ON INDEX form_submissions_created_at_idx IS 'Submissions of all forms newest first.';
CREATE INDEX form_submissions_status_idx ON form_submissions (tenant_id, status, created_at, id);
COMMENT ON INDEX form_submissions_status_idx IS 'Submissions of all forms of a status newest first.';
-- What is not merged yet, every search reads: 256 KB of it instead of 4 MB halve a search after many inserts, which
-- cost the same (measured with 20,000).
CREATE INDEX form_submissions_data_idx ON form_submissions USING gin (data jsonb_path_ops)
    WITH (gin_pending_list_limit = 256);
COMMENT ON INDEX form_submissions_data_idx IS 'Submissions whose data contain something, by search_form_submissions().';

COMMENT ON TABLE form_submissions IS 'What was filled into forms; what is submitted matches its form, for clients of every language.';
COMMENT ON COLUMN form_submissions.tenant_id IS 'The tenant of the submission.';
COMMENT ON COLUMN form_submissions.id IS 'Unique inside the tenant.';
COMMENT ON COLUMN form_submissions.form_definition_id IS 'The version of the form; it stays.';
COMMENT ON COLUMN form_submissions.form_version IS 'That version''s number.';
COMMENT ON COLUMN form_submissions.data IS 'What was filled in, at most 1 MB; checked when it is submitted, and from then on.';
COMMENT ON COLUMN form_submissions.status IS 'draft (may be incomplete), submitted or archived.';
COMMENT ON COLUMN form_submissions.title IS 'The text data.title, if it has at most 255 characters.';
COMMENT ON COLUMN form_submissions.priority IS 'The number data.priority, if it is an integer of 32 bits.';
COMMENT ON COLUMN form_submissions.lock_version IS 'Counts the changes of the row (trigger); a change names the version that it read.';
COMMENT ON COLUMN form_submissions.created_at IS 'When the row was made.';
COMMENT ON COLUMN form_submissions.updated_at IS 'When the row last changed (trigger).';

CREATE TRIGGER update_updated_at BEFORE UPDATE ON form_submissions
    FOR EACH ROW EXECUTE FUNCTION update_updated_at();
CREATE TRIGGER increment_lock_version BEFORE UPDATE ON form_submissions
    FOR EACH ROW EXECUTE FUNCTION increment_lock_version();
CREATE TRIGGER refuse_illegal_transition BEFORE UPDATE ON form_submissions
    FOR EACH ROW WHEN (OLD.status <> NEW.status AND current_user <> 'bedplate_system')
    EXECUTE FUNCTION refuse_illegal_transition('form_submissions',
        'draft>submitted', 'draft>archived', 'submitted>archived');
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON form_submissions
    FOR EACH ROW EXECUTE FUNCTION audit('form_submissions', 'id');

-- No lock on the form: a version that is archived meanwhile is as good as one that is archived a moment later,
-- for what it says never changes.
CREATE FUNCTION validate_form_submission() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    form record;
    is_new boolean := TG_OP = 'INSERT';
    changed boolean := is_new OR NEW.data IS DISTINCT FROM OLD.data;
    violations jsonb;
BEGIN
    IF num_nulls(NEW.tenant_id, NEW.form_definition_id, NEW.form_version, NEW.data, NEW.status) > 0 THEN
        RETURN NEW; -- NOT NULL refuses it
    END IF;
    SELECT name, version, status INTO form FROM public.form_definitions
     WHERE tenant_id = NEW.tenant_id AND id = NEW.form_definition_id AND version = NEW.form_version;
    IF NOT FOUND THEN
        IF NEW.tenant_id <> public.current_tenant() AND current_user <> 'bedplate_system' THEN
            RETURN NEW; -- the policy refuses it
        END IF;
        -- Not left to the foreign key: it looks a moment later, and may see a form that nobody has checked against.
        RAISE EXCEPTION 'form_submissions % refers to a form that does not exist', NEW.id
            USING ERRCODE = 'foreign_key_violation', TABLE = 'form_submissions', COLUMN = 'form_definition_id',
                  CONSTRAINT = 'form_submissions_form_definition_id_fkey';
    END IF;
    IF is_new AND form.status <> 'active' AND NOT (current_user = 'bedplate_system' AND form.status = 'archived')
        OR form.status = 'draft'
    THEN
        RAISE EXCEPTION 'form_submissions %: version % of form % is %', NEW.id, form.version, form.name, form.status
            USING ERRCODE = 'check_violation', TABLE = 'form_submissions', COLUMN = 'form_definition_id',
                  CONSTRAINT = 'form_submissions_form_definition_id_active';
    ELSIF is_new AND NEW.status = 'archived' AND current_user <> 'bedplate_system' THEN
        RAISE EXCEPTION 'form_submissions % cannot start as archived', NEW.id
            USING ERRCODE = 'check_violation', TABLE = 'form_submissions', COLUMN = 'status',
                  CONSTRAINT = 'form_submissions_status_start';
    ELSIF NOT is_new AND (NEW.tenant_id, NEW.form_definition_id, NEW.form_version)
                      <> (OLD.tenant_id, OLD.form_definition_id, OLD.form_version)
    THEN
        RAISE EXCEPTION 'form_submissions % stays with its form', NEW.id
            USING ERRCODE = 'check_violation', TABLE = 'form_submissions', COLUMN = 'form_definition_id',
                  CONSTRAINT = 'form_submissions_form_definition_id_fixed';
    ELSIF NOT is_new AND changed AND OLD.status = 'archived' THEN
        RAISE EXCEPTION 'form_submissions % is archived: its data stay', NEW.id
            USING ERRCODE = 'check_violation', TABLE = 'form_submissions', COLUMN = 'data',
                  CONSTRAINT = 'form_submissions_data_archived';
    END IF;
    -- The operator hands the whole document back, unpacked: stored, it may be compressed.
    IF changed AND pg_column_size(NEW.data #> '{}') > 1048576 THEN
        violations := '[{"instancePath": "", "schemaPath": "", "keyword": "maxSize", "message": "is larger than 1 MB", "params": {"limit": 1048576}}]';
    ELSIF NEW.status = 'submitted' AND (changed OR OLD.status <> 'submitted') THEN
        violations := public.validate_form_data(NEW.tenant_id, NEW.form_definition_id, NEW.data);
    END IF;
    IF violations IS NOT NULL THEN
        IF jsonb_array_length(violations) > 100 THEN
            violations := jsonb_path_query_array(violations, '$[0 to 99]');
        END IF;
        RAISE EXCEPTION 'form_submissions % does not match form % version %', NEW.id, form.name, form.version
            USING ERRCODE = 'check_violation', TABLE = 'form_submissions', COLUMN = 'data',
                  CONSTRAINT = 'form_submissions_data_valid', DETAIL = violations::text;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION validate_form_submission() IS
    'Trigger: what is submitted matches its form; the error''s DETAIL is the JSON array of violations (at most 100), and shows no values.';
REVOKE EXECUTE ON FUNCTION validate_form_submission() FROM PUBLIC;
CREATE TRIGGER validate_form_submission
    BEFORE INSERT OR UPDATE OF tenant_id, data, status, form_definition_id, form_version ON form_submissions
    FOR EACH ROW EXECUTE FUNCTION validate_form_submission();

ALTER TABLE form_submissions ENABLE ROW LEVEL SECURITY;
ALTER TABLE form_submissions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON form_submissions TO bedplate_app
    USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
COMMENT ON POLICY tenant ON form_submissions IS 'A tenant sees its own rows.';
CREATE POLICY system ON form_submissions TO bedplate_system
    USING (current_user = 'bedplate_system') WITH CHECK (current_user = 'bedplate_system');
COMMENT ON POLICY system ON form_submissions IS 'Work across tenants, after SET ROLE.';
CREATE POLICY definer ON form_submissions FOR SELECT TO bedplate_definer USING (true);
COMMENT ON POLICY definer ON form_submissions IS 'For search_form_submissions(), which adds the tenant itself.';

GRANT SELECT, INSERT, UPDATE ON form_submissions TO bedplate_app, bedplate_system;
GRANT SELECT (tenant_id, id, form_definition_id, data, status, title, priority, created_at)
    ON form_submissions TO bedplate_definer;

-- SECURITY DEFINER, because @> is not leakproof: under a tenant's policy it could not use its index. For the same
-- reason the planner has no statistics of the data, and cannot know whether three or half of a million rows
-- contain something; so the function finds out, and each of its steps is quick where the one before was not:
-- 1. the newest 2,000 rows in their order: enough for what many rows contain, or where there are no more;
-- 2. the GIN index, which knows no order, for up to 10,000 rows;
-- 3. all rows in their order: among so many hits the first page is near.
-- It is planned at each call, for its conditions are others each time.
CREATE FUNCTION search_form_submissions(
    containment jsonb, form uuid, wanted_status text, wanted_priority int, wanted_title text,
    from_time timestamptz, until_time timestamptz, after_time timestamptz, after_id uuid, row_limit int
) RETURNS SETOF uuid
    LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 50
    -- What the body sets below ends with it.
    SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_indexscan = on SET enable_bitmapscan = on
    AS $$
DECLARE
    tenant uuid := public.require_tenant();
    wanted constant text := 'FROM public.form_submissions WHERE tenant_id = $1'
        || CASE WHEN form IS NULL THEN '' ELSE ' AND form_definition_id = $3' END
        || CASE WHEN wanted_status IS NULL THEN '' ELSE ' AND status = $4' END
        || CASE WHEN wanted_priority IS NULL THEN '' ELSE ' AND priority = $5' END
        || CASE WHEN wanted_title IS NULL THEN '' ELSE ' AND title = $6' END
        || CASE WHEN from_time IS NULL THEN '' ELSE ' AND created_at >= $7' END
        || CASE WHEN until_time IS NULL THEN '' ELSE ' AND created_at < $8' END
        || CASE WHEN after_id IS NULL THEN '' ELSE ' AND (created_at, id) < ($9, $10)' END;
    newest constant text := ' ORDER BY created_at DESC, id DESC LIMIT ';
    hits uuid[];
    seen int;
BEGIN
    EXECUTE 'SELECT ARRAY(SELECT id FROM (SELECT id, created_at, data ' || wanted || newest || '2000) AS recent'
            || ' WHERE data @> $2' || newest || '$11)'
       INTO hits
      USING tenant, containment, form, wanted_status, wanted_priority, wanted_title, from_time, until_time,
            after_time, after_id, row_limit;
    IF cardinality(hits) >= row_limit THEN
        RETURN QUERY SELECT unnest(hits);
        RETURN;
    END IF;
    EXECUTE 'SELECT count(*) FROM (SELECT ' || wanted || newest || '2001) AS recent' INTO seen
      USING tenant, containment, form, wanted_status, wanted_priority, wanted_title, from_time, until_time,
            after_time, after_id, row_limit;
    IF seen <= 2000 THEN
        RETURN QUERY SELECT unnest(hits);
        RETURN;
    END IF;
    PERFORM set_config('enable_indexscan', 'off', true);
    EXECUTE 'SELECT count(*), (array_agg(id ORDER BY created_at DESC, id DESC))[1:$11] FROM (SELECT id, created_at '
            || wanted || ' AND data @> $2 LIMIT 10001) AS found'
       INTO seen, hits
      USING tenant, containment, form, wanted_status, wanted_priority, wanted_title, from_time, until_time,
            after_time, after_id, row_limit;
    IF seen <= 10000 THEN
        RETURN QUERY SELECT unnest(hits);
        RETURN;
    END IF;
    PERFORM set_config('enable_indexscan', 'on', true), set_config('enable_bitmapscan', 'off', true);
    RETURN QUERY EXECUTE 'SELECT id ' || wanted || ' AND data @> $2' || newest || '$11'
      USING tenant, containment, form, wanted_status, wanted_priority, wanted_title, from_time, until_time,
            after_time, after_id, row_limit;
END
$$;
COMMENT ON FUNCTION search_form_submissions(jsonb, uuid, text, int, text, timestamptz, timestamptz, timestamptz, uuid, int) IS
    'Ids of this tenant''s newest submissions whose data contain something (@>); what is NULL is not asked for, after_time and after_id are where the page before ended.';
REVOKE EXECUTE ON FUNCTION search_form_submissions(jsonb, uuid, text, int, text, timestamptz, timestamptz, timestamptz, uuid, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION search_form_submissions(jsonb, uuid, text, int, text, timestamptz, timestamptz, timestamptz, uuid, int) TO bedplate_app;
SELECT give_to_definer('search_form_submissions(jsonb, uuid, text, int, text, timestamptz, timestamptz, timestamptz, uuid, int)');
