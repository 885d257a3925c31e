-- Eight events in two tenants, appended as an application does: by append_events(), as its role, for one tenant at a
-- time. What is there by its id is left alone, for an event never changes. At Lumen, an idea is submitted and
-- evaluated: the second event is what the first led to. At Harbor, a course is a stream, and two skippers apply for
-- its seats.
SET LOCAL ROLE bedplate_app;
SET LOCAL app.tenant_id = '01900000-0000-7000-8000-000000000001';
SELECT append_events(jsonb_agg(new.event ORDER BY new.event ->> 'id')) FROM jsonb_array_elements('[
    {"id": "01900000-0000-7000-8000-000000000801", "event_type": "IdeaSubmitted",
     "tags": ["idea:01900000-0000-7000-8000-000000000301", "evaluation:01900000-0000-7000-8000-000000000401",
              "user:01900000-0000-7000-8000-000000000101"],
     "event_data": {"idea_id": "01900000-0000-7000-8000-000000000301",
                    "evaluation_id": "01900000-0000-7000-8000-000000000401", "priority": "normal"},
     "metadata": {"user_id": "01900000-0000-7000-8000-000000000101"},
     "correlation_id": "01900000-0000-7000-8000-000000000891"},
    {"id": "01900000-0000-7000-8000-000000000802", "event_type": "EvaluationCompleted",
     "tags": ["idea:01900000-0000-7000-8000-000000000301", "evaluation:01900000-0000-7000-8000-000000000401"],
     "event_data": {"evaluation_id": "01900000-0000-7000-8000-000000000401",
                    "idea_id": "01900000-0000-7000-8000-000000000301", "score": 70.4},
     "correlation_id": "01900000-0000-7000-8000-000000000891",
     "causation_id": "01900000-0000-7000-8000-000000000801"},
    {"id": "01900000-0000-7000-8000-000000000803", "event_type": "SubmissionSubmitted",
     "tags": ["form:01900000-0000-7000-8000-000000000602", "submission:01900000-0000-7000-8000-000000000703"],
     "event_data": {"submission_id": "01900000-0000-7000-8000-000000000703",
                    "form_id": "01900000-0000-7000-8000-000000000602", "form_version": 2}}
]') AS new (event)
 WHERE NOT EXISTS (SELECT FROM events AS e
                    WHERE e.tenant_id = '01900000-0000-7000-8000-000000000001' AND e.id = (new.event ->> 'id')::uuid)
HAVING count(*) > 0;

SET LOCAL app.tenant_id = '01900000-0000-7000-8000-000000000002';
SELECT append_events(jsonb_agg(new.event ORDER BY new.event ->> 'id'), NULL,
                     '{"aggregate_type": "course", "aggregate_id": "01900000-0000-7000-8000-000000000851"}')
  FROM jsonb_array_elements('[
    {"id": "01900000-0000-7000-8000-000000000811", "event_type": "CourseDefined",
     "tags": ["course:01900000-0000-7000-8000-000000000851"],
     "event_data": {"title": "Docking under sail", "seats": 2},
     "metadata": {"user_id": "01900000-0000-7000-8000-000000000103", "schema_version": 2},
     "correlation_id": "01900000-0000-7000-8000-000000000892"},
    {"id": "01900000-0000-7000-8000-000000000812", "event_type": "SeatTaken",
     "tags": ["course:01900000-0000-7000-8000-000000000851", "skipper:maren"],
     "event_data": {"skipper": "maren"},
     "correlation_id": "01900000-0000-7000-8000-000000000893"},
    {"id": "01900000-0000-7000-8000-000000000813", "event_type": "SeatTaken",
     "tags": ["course:01900000-0000-7000-8000-000000000851", "skipper:joão"],
     "event_data": {"skipper": "joão"},
     "correlation_id": "01900000-0000-7000-8000-000000000894"},
    {"id": "01900000-0000-7000-8000-000000000814", "event_type": "CourseFilled",
     "tags": ["course:01900000-0000-7000-8000-000000000851"],
     "event_data": {},
     "correlation_id": "01900000-0000-7000-8000-000000000894",
     "causation_id": "01900000-0000-7000-8000-000000000813"}
]') AS new (event)
 WHERE NOT EXISTS (SELECT FROM events AS e
                    WHERE e.tenant_id = '01900000-0000-7000-8000-000000000002' AND e.id = (new.event ->> 'id')::uuid)
HAVING count(*) > 0;
SELECT append_events(jsonb_agg(new.event)) FROM jsonb_array_elements('[
    {"id": "01900000-0000-7000-8000-000000000815", "event_type": "SubmissionSubmitted",
     "tags": ["form:01900000-0000-7000-8000-000000000604", "submission:01900000-0000-7000-8000-000000000706"],
     "event_data": {"submission_id": "01900000-0000-7000-8000-000000000706",
                    "form_id": "01900000-0000-7000-8000-000000000604", "form_version": 1}}
]') AS new (event)
 WHERE NOT EXISTS (SELECT FROM events AS e
                    WHERE e.tenant_id = '01900000-0000-7000-8000-000000000002' AND e.id = (new.event ->> 'id')::uuid)
HAVING count(*) > 0;

SET LOCAL app.tenant_id = '';
SET LOCAL ROLE bedplate_system;
