DROP FUNCTION visible_text(text);
DROP FUNCTION update_updated_at();
