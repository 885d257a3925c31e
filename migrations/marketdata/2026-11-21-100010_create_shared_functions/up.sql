-- Word for word that of the database main (the test `catalogue::what_is_shared_is_equal` compares).
CREATE FUNCTION update_updated_at() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION update_updated_at() IS 'Trigger: sets updated_at to the time of the transaction.';
REVOKE EXECUTE ON FUNCTION update_updated_at() FROM PUBLIC;
