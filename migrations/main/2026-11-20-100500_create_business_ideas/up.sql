CREATE TABLE business_ideas (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    title varchar(255) NOT NULL,
    description text NOT NULL,
    status text NOT NULL DEFAULT 'draft',
    lock_version int NOT NULL DEFAULT 0,
    deleted_at timestamptz
        CONSTRAINT business_ideas_deleted_at_time CHECK (deleted_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    created_at timestamptz NOT NULL DEFAULT now()
        CONSTRAINT business_ideas_created_at_time CHECK (created_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    updated_at timestamptz NOT NULL DEFAULT now()
        CONSTRAINT business_ideas_updated_at_time CHECK (updated_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'),
    CONSTRAINT business_ideas_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT business_ideas_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE,
    CONSTRAINT business_ideas_user_id_fkey FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id),
    CONSTRAINT business_ideas_title_check CHECK (visible_text(title) <> ''),
    CONSTRAINT business_ideas_description_check CHECK (char_length(description) BETWEEN 50 AND 5000),
    CONSTRAINT business_ideas_status_check
        CHECK (status IN ('draft', 'submitted', 'evaluating', 'completed', 'archived')),
    CONSTRAINT business_ideas_lock_version_check CHECK (lock_version >= 0),
    -- Agents may be reading it: it is cancelled first, and deleted then.
    CONSTRAINT business_ideas_deleted_at_check
        CHECK (deleted_at IS NULL OR status NOT IN ('submitted', 'evaluating'))
);
CREATE INDEX business_ideas_user_id_idx ON business_ideas (tenant_id, user_id, created_at, id);
COMMENT ON INDEX business_ideas_user_id_idx IS 'Ideas of a user newest first; its foreign key.';
CREATE INDEX business_ideas_status_idx ON business_ideas (tenant_id, status, created_at, id);
COMMENT ON INDEX business_ideas_status_idx IS 'Ideas of a status newest first.';
CREATE INDEX business_ideas_created_at_idx ON business_ideas (tenant_id, created_at, id);
COMMENT ON INDEX business_ideas_created_at_idx IS 'Ideas newest first.';
CREATE INDEX business_ideas_title_idx ON business_ideas (tenant_id, title, id);
COMMENT ON INDEX business_ideas_title_idx IS 'Ideas by title.';
CREATE INDEX business_ideas_deleted_at_idx ON business_ideas (tenant_id, created_at, id)
    WHERE deleted_at IS NOT NULL;
COMMENT ON INDEX business_ideas_deleted_at_idx IS 'Deleted ideas newest first, few among many.';
CREATE INDEX business_ideas_search_idx ON business_ideas
    USING gin (to_tsvector('pg_catalog.english', title || ' ' || description));
COMMENT ON INDEX business_ideas_search_idx IS 'Full-text search, by search_business_ideas().';

COMMENT ON TABLE business_ideas IS 'What users submit for evaluation.';
COMMENT ON COLUMN business_ideas.tenant_id IS 'The tenant of the idea.';
COMMENT ON COLUMN business_ideas.id IS 'Unique inside the tenant.';
COMMENT ON COLUMN business_ideas.user_id IS 'Who owns the idea.';
COMMENT ON COLUMN business_ideas.title IS 'Title, not blank.';
COMMENT ON COLUMN business_ideas.description IS 'The idea itself, 50 to 5,000 characters.';
COMMENT ON COLUMN business_ideas.status IS 'draft, submitted, evaluating, completed or archived; only a draft is edited.';
COMMENT ON COLUMN business_ideas.lock_version IS 'Counts the changes of the row (trigger); an update names the version that it read.';
COMMENT ON COLUMN business_ideas.deleted_at IS 'When the idea was deleted (softly); NULL: not deleted.';
COMMENT ON COLUMN business_ideas.created_at IS 'When the row was made.';
COMMENT ON COLUMN business_ideas.updated_at IS 'When the row last changed (trigger).';

CREATE TRIGGER update_updated_at BEFORE UPDATE ON business_ideas
    FOR EACH ROW EXECUTE FUNCTION update_updated_at();

-- In a trigger, so that clients of other languages cannot forget it.
CREATE FUNCTION increment_lock_version() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    NEW.lock_version := OLD.lock_version + 1;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION increment_lock_version() IS 'Trigger: every update makes a new lock_version.';
REVOKE EXECUTE ON FUNCTION increment_lock_version() FROM PUBLIC;
CREATE TRIGGER increment_lock_version BEFORE UPDATE ON business_ideas
    FOR EACH ROW EXECUTE FUNCTION increment_lock_version();

-- Seeds and repairs act as bedplate_system and may set any status; the CHECKs hold for them too.
CREATE TRIGGER refuse_illegal_transition BEFORE UPDATE ON business_ideas
    FOR EACH ROW WHEN (OLD.status <> NEW.status AND current_user <> 'bedplate_system')
    EXECUTE FUNCTION refuse_illegal_transition('business_ideas',
        'draft>submitted', 'draft>archived',
        'submitted>evaluating', 'submitted>draft',
        'evaluating>completed', 'evaluating>draft',
        'completed>draft', 'completed>archived');

CREATE FUNCTION refuse_edit_of_submitted_idea() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RAISE EXCEPTION 'business_ideas % is %: only a draft is edited', OLD.id, OLD.status
        USING ERRCODE = 'check_violation', TABLE = 'business_ideas', COLUMN = 'status',
              CONSTRAINT = 'business_ideas_status_edit';
END
$$;
COMMENT ON FUNCTION refuse_edit_of_submitted_idea() IS
    'Trigger: what agents evaluate does not change under them.';
REVOKE EXECUTE ON FUNCTION refuse_edit_of_submitted_idea() FROM PUBLIC;
CREATE TRIGGER refuse_edit_of_submitted_idea BEFORE UPDATE OF title, description ON business_ideas
    FOR EACH ROW WHEN (OLD.status <> 'draft' AND current_user <> 'bedplate_system'
        AND (OLD.title, OLD.description) IS DISTINCT FROM (NEW.title, NEW.description))
    EXECUTE FUNCTION refuse_edit_of_submitted_idea();

ALTER TABLE business_ideas ENABLE ROW LEVEL SECURITY;
ALTER TABLE business_ideas FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON business_ideas TO bedplate_app
    USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
COMMENT ON POLICY tenant ON business_ideas IS 'A tenant sees its own rows.';
CREATE POLICY system ON business_ideas TO bedplate_system
    USING (current_user = 'bedplate_system') WITH CHECK (current_user = 'bedplate_system');
COMMENT ON POLICY system ON business_ideas IS 'Work across tenants, after SET ROLE.';
CREATE POLICY definer ON business_ideas FOR SELECT TO bedplate_definer USING (true);
COMMENT ON POLICY definer ON business_ideas IS 'For search_business_ideas(), which adds the tenant itself.';

GRANT SELECT, INSERT, UPDATE ON business_ideas TO bedplate_app, bedplate_system;
GRANT SELECT (tenant_id, id, title, description) ON business_ideas TO bedplate_definer;

-- SECURITY DEFINER, because @@ is not leakproof: under a tenant's policy it could not use its index.
CREATE FUNCTION search_business_ideas(query text) RETURNS SETOF uuid
    LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 100
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    tenant uuid := public.require_tenant();
BEGIN
    RETURN QUERY
        SELECT idea.id
          FROM public.business_ideas AS idea
         WHERE idea.tenant_id = tenant
           AND to_tsvector('pg_catalog.english', idea.title || ' ' || idea.description)
               @@ websearch_to_tsquery('pg_catalog.english', query);
END
$$;
COMMENT ON FUNCTION search_business_ideas(text) IS
    'Ids of this tenant''s ideas whose title or description match a search as people type it (websearch_to_tsquery).';
REVOKE EXECUTE ON FUNCTION search_business_ideas(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION search_business_ideas(text) TO bedplate_app;
SELECT give_to_definer('search_business_ideas(text)');
