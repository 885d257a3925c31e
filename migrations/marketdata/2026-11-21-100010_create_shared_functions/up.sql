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

-- White space, control and format characters, and others that show nothing (Default_Ignorable_Code_Point of
-- https://www.unicode.org/reports/tr44/). The test `columns::what_shows_nothing_is_the_same_in_both` compares with Rust's.
CREATE FUNCTION visible_text(value text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN regexp_replace(value, '[\u0001-\u0020\u007F-\u00A0\u00AD\u034F\u061C\u115F-\u1160\u1680\u17B4-\u17B5\u180B-\u180F\u2000-\u200F\u2028-\u202F\u205F-\u206F\u2800\u3000\u3164\uFDD0-\uFDEF\uFE00-\uFE0F\uFEFF\uFFA0\uFFF0-\uFFFB\uFFFE-\uFFFF\U0001107F\U00013430-\U0001343F\U00016FE4\U0001BCA0-\U0001BCA3\U0001D159\U0001D173-\U0001D17A\U0001FFFE-\U0001FFFF\U0002FFFE-\U0002FFFF\U0003FFFE-\U0003FFFF\U0004FFFE-\U0004FFFF\U0005FFFE-\U0005FFFF\U0006FFFE-\U0006FFFF\U0007FFFE-\U0007FFFF\U0008FFFE-\U0008FFFF\U0009FFFE-\U0009FFFF\U000AFFFE-\U000AFFFF\U000BFFFE-\U000BFFFF\U000CFFFE-\U000CFFFF\U000DFFFE-\U000DFFFF\U000E0000-\U000E0FFF\U000FFFFE-\U000FFFFF\U0010FFFE-\U0010FFFF]', '', 'g');
COMMENT ON FUNCTION visible_text(text) IS 'The text without white space and without characters that show nothing: of a blank text, the empty one.';
REVOKE EXECUTE ON FUNCTION visible_text(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION visible_text(text) TO bedplate_app, bedplate_system;
