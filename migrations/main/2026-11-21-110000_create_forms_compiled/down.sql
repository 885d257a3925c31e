DROP FUNCTION drop_form_validator(uuid, uuid);
DROP FUNCTION create_form_validator(uuid, text[]);
DROP SCHEMA forms_compiled;
