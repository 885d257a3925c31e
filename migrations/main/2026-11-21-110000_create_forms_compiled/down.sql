DROP FUNCTION drop_form_validator();
DROP FUNCTION create_form_validator(uuid, text[]);
DROP FUNCTION form_validator(uuid, uuid);
-- With every function that was compiled into it. The role stays: other databases use it.
DROP SCHEMA forms_compiled CASCADE;
