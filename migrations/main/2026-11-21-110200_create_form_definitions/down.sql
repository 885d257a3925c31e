DROP TABLE form_definitions;
DROP FUNCTION keep_published_form();
DROP FUNCTION refuse_form_that_is_no_draft();
DROP FUNCTION refuse_change_of_published_form();
