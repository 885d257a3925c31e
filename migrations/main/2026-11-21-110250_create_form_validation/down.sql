DROP FUNCTION validate_form_data(uuid, uuid, jsonb);
