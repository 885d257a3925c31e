-- SECURITY DEFINER, because a cascade runs as the tables' owner, who sees no rows under FORCE: to it every
-- organization would look deleted. A trigger cannot be called, so the tenant comes from the row.
CREATE FUNCTION keep_last_owner() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    -- Two owners who leave together are let through one after the other: the second waits here, and the
    -- next statement sees what the first did. NO KEY, so that new members are not kept waiting. Where the
    -- organization goes itself, its row is gone already, and nobody has to stay. So it is where the tenant goes:
    -- all cascades from it are done before the triggers of what they deleted.
    PERFORM FROM public.organizations
      WHERE tenant_id = OLD.tenant_id AND id = OLD.organization_id
        FOR NO KEY UPDATE;
    IF FOUND AND NOT EXISTS (
        SELECT FROM public.user_organizations
         WHERE tenant_id = OLD.tenant_id AND organization_id = OLD.organization_id AND role = 'owner')
    THEN
        RAISE EXCEPTION 'the last owner of organization % stays', OLD.organization_id
            USING ERRCODE = 'restrict_violation', TABLE = 'user_organizations', COLUMN = 'role',
                  CONSTRAINT = 'user_organizations_last_owner',
                  HINT = 'Make another member owner first, or delete the organization.';
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION keep_last_owner() IS
    'Trigger: refuses to remove or demote the last owner of an organization.';
REVOKE EXECUTE ON FUNCTION keep_last_owner() FROM PUBLIC;

CREATE TRIGGER keep_last_owner_on_delete AFTER DELETE ON user_organizations
    FOR EACH ROW WHEN (OLD.role = 'owner') EXECUTE FUNCTION keep_last_owner();
CREATE TRIGGER keep_last_owner_on_update AFTER UPDATE ON user_organizations
    FOR EACH ROW WHEN (OLD.role = 'owner' AND (NEW.role <> 'owner'
        OR (NEW.tenant_id, NEW.organization_id) <> (OLD.tenant_id, OLD.organization_id)))
    EXECUTE FUNCTION keep_last_owner();

CREATE POLICY definer ON organizations FOR SELECT TO bedplate_definer USING (true);
COMMENT ON POLICY definer ON organizations IS 'For keep_last_owner(), which takes the tenant from its row.';
-- To lock a row is an UPDATE to the policies; to change one is refused.
CREATE POLICY definer_lock ON organizations FOR UPDATE TO bedplate_definer USING (true) WITH CHECK (false);
COMMENT ON POLICY definer_lock ON organizations IS 'For keep_last_owner(), which locks the row and changes nothing.';
CREATE POLICY definer ON user_organizations FOR SELECT TO bedplate_definer USING (true);
COMMENT ON POLICY definer ON user_organizations IS 'For keep_last_owner(), which takes the tenant from its row.';
GRANT SELECT (tenant_id, id), UPDATE (id) ON organizations TO bedplate_definer;
GRANT SELECT (tenant_id, organization_id, role) ON user_organizations TO bedplate_definer;
SELECT give_to_definer('keep_last_owner()');

-- A deleted user is a member of nothing: otherwise it could be the owner that others rely on.
CREATE FUNCTION leave_organizations() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    DELETE FROM public.user_organizations WHERE tenant_id = NEW.tenant_id AND user_id = NEW.id;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION leave_organizations() IS 'Trigger: a user who is deleted (softly) leaves every organization.';
REVOKE EXECUTE ON FUNCTION leave_organizations() FROM PUBLIC;
CREATE TRIGGER leave_organizations AFTER UPDATE ON users
    FOR EACH ROW WHEN (OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL)
    EXECUTE FUNCTION leave_organizations();
GRANT DELETE ON user_organizations TO bedplate_system;

-- Members are listed by the time they joined.
DROP INDEX user_organizations_organization_id_idx;
CREATE INDEX user_organizations_organization_id_idx
    ON user_organizations (tenant_id, organization_id, created_at, user_id);
COMMENT ON INDEX user_organizations_organization_id_idx IS
    'Members of an organization in the order in which they joined; its foreign key.';
CREATE INDEX organizations_created_at_idx ON organizations (tenant_id, created_at, id);
COMMENT ON INDEX organizations_created_at_idx IS 'Organizations newest first.';
