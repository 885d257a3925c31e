-- Five versions of three forms. Version 1 of the founder's application was replaced by version 2; version 2 of the
-- damage report is being written. What is published never changes, so only drafts are loaded again.
--
-- `program` is what the database runs, compiled from `definition` by Rust: the test seeds::programs_are_fresh
-- prints the right lines for the second list.
INSERT INTO form_definitions
    (tenant_id, id, name, version, status, published_at, created_at, assert_formats, definition, program)
SELECT form.tenant_id::uuid, form.id::uuid, form.name, form.version, form.status, form.published_at::timestamptz,
       form.created_at::timestamptz, form.assert_formats, form.definition::jsonb, compiled.program::jsonb
  FROM (VALUES
    ('01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-000000000601', 'founder-application', 1,
     'archived', '2026-02-02 10:00:00+00', '2026-01-30 09:00:00+00', false, '{
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Founder''s application",
        "type": "object",
        "required": ["title", "email"],
        "properties": {
            "title": {"type": "string", "minLength": 3, "maxLength": 200},
            "email": {"type": "string", "maxLength": 254},
            "team_size": {"type": "integer", "minimum": 1}
        }
     }'),
    ('01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-000000000602', 'founder-application', 2,
     'active', '2026-03-16 08:30:00+00', '2026-03-11 15:20:00+00', true, '{
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Founder''s application",
        "type": "object",
        "required": ["title", "email", "stage"],
        "properties": {
            "title": {"type": "string", "minLength": 3, "maxLength": 200},
            "email": {"type": "string", "format": "email"},
            "stage": {"enum": ["idea", "prototype", "revenue"]},
            "team_size": {"type": "integer", "minimum": 1, "maximum": 50},
            "priority": {"type": "integer", "minimum": 1, "maximum": 5},
            "links": {"type": "array", "maxItems": 5, "items": {"type": "string", "format": "uri"}}
        },
        "additionalProperties": false
     }'),
    ('01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-000000000603', 'mentor-feedback', 1,
     'active', '2026-03-20 11:00:00+00', '2026-03-19 16:45:00+00', false, '{
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Feedback of a mentor",
        "type": "object",
        "required": ["title", "scores"],
        "properties": {
            "title": {"type": "string", "minLength": 1},
            "scores": {
                "type": "object",
                "required": ["team", "market"],
                "additionalProperties": {"type": "integer", "minimum": 1, "maximum": 10}
            },
            "comment": {"type": "string", "maxLength": 2000}
        }
     }'),
    ('01900000-0000-7000-8000-000000000002', '01900000-0000-7000-8000-000000000604', 'damage-report', 1,
     'active', '2026-04-03 07:15:00+00', '2026-04-02 13:00:00+00', false, '{
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Report of damage on a boat",
        "type": "object",
        "required": ["title", "boat", "part"],
        "properties": {
            "title": {"type": "string", "minLength": 3},
            "boat": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{4}$"},
            "part": {"enum": ["hull", "rig", "engine", "interior"]},
            "priority": {"type": "integer", "minimum": 1, "maximum": 5},
            "afloat": {"type": "boolean"}
        },
        "if": {"properties": {"part": {"const": "hull"}}, "required": ["part"]},
        "then": {"required": ["afloat"]}
     }'),
    ('01900000-0000-7000-8000-000000000002', '01900000-0000-7000-8000-000000000605', 'damage-report', 2,
     'draft', NULL, '2026-04-14 18:05:00+00', false, '{
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Report of damage on a boat",
        "type": "object",
        "required": ["title", "boat", "part", "photos"],
        "properties": {
            "title": {"type": "string", "minLength": 3},
            "boat": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{4}$"},
            "part": {"enum": ["hull", "rig", "engine", "interior"]},
            "photos": {"type": "array", "minItems": 1, "uniqueItems": true, "items": {"type": "string"}}
        }
     }')
  ) AS form (tenant_id, id, name, version, status, published_at, created_at, assert_formats, definition)
  LEFT JOIN (VALUES
    ('01900000-0000-7000-8000-000000000601', '{"deep":false,"root":{"at":"","object":{"properties":{"email":{"at":"/properties/email","params":{"maxLength":{"limit":254},"type":{"type":"string"}},"say":{"maxLength":"must have at most 254 characters","type":"must be of type string"},"string":{"maxLength":254},"type":["string"]},"team_size":{"at":"/properties/team_size","number":{"minimum":1},"params":{"minimum":{"comparison":">=","limit":1},"type":{"type":"integer"}},"say":{"minimum":"must be at least 1","type":"must be of type integer"},"type":["integer"]},"title":{"at":"/properties/title","params":{"maxLength":{"limit":200},"minLength":{"limit":3},"type":{"type":"string"}},"say":{"maxLength":"must have at most 200 characters","minLength":"must have at least 3 characters","type":"must be of type string"},"string":{"maxLength":200,"minLength":3},"type":["string"]}},"required":["title","email"]},"params":{"type":{"type":"object"}},"say":{"type":"must be of type object"},"type":["object"]},"shared":{}}'),
    ('01900000-0000-7000-8000-000000000602', '{"deep":false,"root":{"at":"","object":{"additionalProperties":false,"properties":{"email":{"at":"/properties/email","params":{"format":{"format":"email"},"type":{"type":"string"}},"say":{"format":"must have the format email","type":"must be of type string"},"string":{"format":[[false,"^[!#-''\\*\\+\\-/-9=\\?A-Z\\^-~]+(?:\\.[!#-''\\*\\+\\-/-9=\\?A-Z\\^-~]+)*@[0-9A-Za-z](?:[\\-0-9A-Za-z]{0,61}[0-9A-Za-z])?(?:\\.[0-9A-Za-z](?:[\\-0-9A-Za-z]{0,61}[0-9A-Za-z])?)*$"]]},"type":["string"]},"links":{"array":{"items":{"at":"/properties/links/items","params":{"format":{"format":"uri"},"type":{"type":"string"}},"say":{"format":"must have the format uri","type":"must be of type string"},"string":{"format":[[false,"^[A-Za-z][\\+\\-\\.0-9A-Za-z]*:(?:[!#\\$\\&-;=\\?-\\[\\]_a-z~]|%[0-9A-Fa-f]{2})*$"]]},"type":["string"]},"maxItems":5},"at":"/properties/links","params":{"maxItems":{"limit":5},"type":{"type":"array"}},"say":{"maxItems":"must have at most 5 items","type":"must be of type array"},"type":["array"]},"priority":{"at":"/properties/priority","number":{"maximum":5,"minimum":1},"params":{"maximum":{"comparison":"<=","limit":5},"minimum":{"comparison":">=","limit":1},"type":{"type":"integer"}},"say":{"maximum":"must be at most 5","minimum":"must be at least 1","type":"must be of type integer"},"type":["integer"]},"stage":{"at":"/properties/stage","enum":["idea","prototype","revenue"],"say":{"enum":"must be one of \"idea\", \"prototype\", \"revenue\""}},"team_size":{"at":"/properties/team_size","number":{"maximum":50,"minimum":1},"params":{"maximum":{"comparison":"<=","limit":50},"minimum":{"comparison":">=","limit":1},"type":{"type":"integer"}},"say":{"maximum":"must be at most 50","minimum":"must be at least 1","type":"must be of type integer"},"type":["integer"]},"title":{"at":"/properties/title","params":{"maxLength":{"limit":200},"minLength":{"limit":3},"type":{"type":"string"}},"say":{"maxLength":"must have at most 200 characters","minLength":"must have at least 3 characters","type":"must be of type string"},"string":{"maxLength":200,"minLength":3},"type":["string"]}},"required":["title","email","stage"]},"params":{"type":{"type":"object"}},"say":{"additionalProperties":"is not allowed","type":"must be of type object"},"type":["object"]},"shared":{}}'),
    ('01900000-0000-7000-8000-000000000603', '{"deep":false,"root":{"at":"","object":{"properties":{"comment":{"at":"/properties/comment","params":{"maxLength":{"limit":2000},"type":{"type":"string"}},"say":{"maxLength":"must have at most 2000 characters","type":"must be of type string"},"string":{"maxLength":2000},"type":["string"]},"scores":{"at":"/properties/scores","object":{"additionalProperties":{"at":"/properties/scores/additionalProperties","number":{"maximum":10,"minimum":1},"params":{"maximum":{"comparison":"<=","limit":10},"minimum":{"comparison":">=","limit":1},"type":{"type":"integer"}},"say":{"maximum":"must be at most 10","minimum":"must be at least 1","type":"must be of type integer"},"type":["integer"]},"required":["team","market"]},"params":{"type":{"type":"object"}},"say":{"additionalProperties":"is not allowed","type":"must be of type object"},"type":["object"]},"title":{"at":"/properties/title","params":{"minLength":{"limit":1},"type":{"type":"string"}},"say":{"minLength":"must have at least 1 character","type":"must be of type string"},"string":{"minLength":1},"type":["string"]}},"required":["title","scores"]},"params":{"type":{"type":"object"}},"say":{"type":"must be of type object"},"type":["object"]},"shared":{}}'),
    ('01900000-0000-7000-8000-000000000604', '{"deep":false,"root":{"at":"","if":{"at":"/if","object":{"properties":{"part":{"at":"/if/properties/part","const":"hull","say":{"const":"must be \"hull\""}}},"required":["part"]}},"object":{"properties":{"afloat":{"at":"/properties/afloat","params":{"type":{"type":"boolean"}},"say":{"type":"must be of type boolean"},"type":["boolean"]},"boat":{"at":"/properties/boat","params":{"pattern":{"pattern":"^[A-Z]{2}-[0-9]{4}$"},"type":{"type":"string"}},"say":{"pattern":"must match ^[A-Z]{2}-[0-9]{4}$","type":"must be of type string"},"string":{"pattern":[[false,"^[A-Z]{2}\\-[0-9]{4}$"]]},"type":["string"]},"part":{"at":"/properties/part","enum":["hull","rig","engine","interior"],"say":{"enum":"must be one of \"hull\", \"rig\", \"engine\", \"interior\""}},"priority":{"at":"/properties/priority","number":{"maximum":5,"minimum":1},"params":{"maximum":{"comparison":"<=","limit":5},"minimum":{"comparison":">=","limit":1},"type":{"type":"integer"}},"say":{"maximum":"must be at most 5","minimum":"must be at least 1","type":"must be of type integer"},"type":["integer"]},"title":{"at":"/properties/title","params":{"minLength":{"limit":3},"type":{"type":"string"}},"say":{"minLength":"must have at least 3 characters","type":"must be of type string"},"string":{"minLength":3},"type":["string"]}},"required":["title","boat","part"]},"params":{"type":{"type":"object"}},"say":{"type":"must be of type object"},"then":{"at":"/then","object":{"required":["afloat"]}},"type":["object"]},"shared":{}}')
  ) AS compiled (id, program) USING (id)
ON CONFLICT (tenant_id, id) DO UPDATE SET
    name = excluded.name, definition = excluded.definition, assert_formats = excluded.assert_formats
  WHERE form_definitions.status = 'draft';
