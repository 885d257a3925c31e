DROP FUNCTION visible_text(text);
DROP FUNCTION json_is_readable(jsonb);
DROP FUNCTION json_numbers_are_exact(jsonb);
DROP FUNCTION give_to_definer(regprocedure);
DROP FUNCTION refuse_illegal_transition();
DROP FUNCTION update_updated_at();
DROP FUNCTION require_tenant();
DROP FUNCTION current_tenant();
