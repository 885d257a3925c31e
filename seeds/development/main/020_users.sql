-- Three users. Their passwords, for a developer's machine and nowhere else (these seeds are refused in
-- production):
--   founder@lumen.example    bedplate-founder
--   analyst@lumen.example    bedplate-analyst
--   maker@harbor.example     bedplate-maker
INSERT INTO users (tenant_id, id, email, username, name, display_name, password_hash, status) VALUES
    ('01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-000000000101', 'founder@lumen.example', 'founder', 'Studio Founder', 'Founder',
     '$argon2id$v=19$m=19456,t=2,p=1$svas1OybKAtw5g6kTc1nbQ$dzVXuzZ8O+QkYpkBE0/KHLMecLqxRAt+kYxfj+jqmc0', 'active'),
    ('01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-000000000102', 'analyst@lumen.example', 'analyst', 'Studio Analyst', NULL,
     '$argon2id$v=19$m=19456,t=2,p=1$wf6+R5vmJeWoysw9DJEF5w$TtYeVh14F99OkSSW4CLOOJ8UgNlXUeaS4GqUAh0zIb8', 'active'),
    ('01900000-0000-7000-8000-000000000002', '01900000-0000-7000-8000-000000000103', 'maker@harbor.example', 'maker', 'Harbor Maker', 'Maker',
     '$argon2id$v=19$m=19456,t=2,p=1$EAHlJDL/gcFby7SUZGz+FA$cXc0gAg4wtNBhB19JCR0tR1BkgYe8g0AuMrpchYkHmI', 'active')
ON CONFLICT (tenant_id, id) DO UPDATE SET
    email = excluded.email, username = excluded.username, name = excluded.name,
    display_name = excluded.display_name, password_hash = excluded.password_hash, status = excluded.status,
    deleted_at = NULL;
