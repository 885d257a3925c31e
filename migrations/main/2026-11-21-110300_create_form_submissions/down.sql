DROP FUNCTION search_form_submissions(jsonb, uuid, text, int, text, timestamptz, timestamptz, timestamptz, uuid, int);
DROP TABLE form_submissions;
DROP FUNCTION validate_form_submission();
