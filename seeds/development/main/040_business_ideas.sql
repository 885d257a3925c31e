-- Six ideas, from draft to completed. The fourth is a draft again, because its evaluation failed.
INSERT INTO business_ideas (tenant_id, id, user_id, title, description, status, created_at) VALUES
    ('01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-000000000301', '01900000-0000-7000-8000-000000000101',
     'Refill stations for household cleaners',
     'Vending machines in supermarkets that refill detergent and soap into the bottle a customer brings. Priced by weight, ten percent below the packaged product, with a deposit for the first bottle.',
     'completed', '2026-03-02 09:15:00+00'),
    ('01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-000000000302', '01900000-0000-7000-8000-000000000101',
     'Night-shift meal boxes for hospitals',
     'Warm meal boxes delivered to hospital wards between ten at night and four in the morning, ordered by ward and paid by the employer as a benefit. Kitchens stand idle at that time.',
     'evaluating', '2026-03-09 14:40:00+00'),
    ('01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-000000000303', '01900000-0000-7000-8000-000000000102',
     'Heat maps of rooftop solar shading',
     'A service that predicts, from public height models, how much a roof is shaded through the year, so that installers quote a solar plant without a visit to the site.',
     'submitted', '2026-03-16 08:05:00+00'),
    ('01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-000000000304', '01900000-0000-7000-8000-000000000102',
     'Subscription for sharpened kitchen knives',
     'Two sets of knives circulate: one is used at home while the other is sharpened. A van swaps them each month. Restaurants have had this for decades, households have not.',
     'draft', '2026-03-20 17:30:00+00'),
    ('01900000-0000-7000-8000-000000000002', '01900000-0000-7000-8000-000000000305', '01900000-0000-7000-8000-000000000103',
     'Crew matching for small sailing charters',
     'Charter companies need skippers at short notice, skippers need days at sea for their licence. The platform checks the papers, matches both, and takes a fee for each day sailed.',
     'completed', '2026-04-01 10:00:00+00'),
    ('01900000-0000-7000-8000-000000000002', '01900000-0000-7000-8000-000000000306', '01900000-0000-7000-8000-000000000103',
     'Harbor-side repair café with tool library',
     'A workshop at the marina where sailors repair their own gear with lent tools and an hour of help. Income comes from memberships, spare parts, and a winter course programme.',
     'draft', '2026-04-12 12:20:00+00')
ON CONFLICT (tenant_id, id) DO UPDATE SET
    user_id = excluded.user_id, title = excluded.title, description = excluded.description, status = excluded.status,
    created_at = excluded.created_at, deleted_at = NULL;
