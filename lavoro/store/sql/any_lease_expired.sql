-- Tells whether some worker's lease has run out: asked often, so that the transaction that ends it is begun seldom.
select exists (select from lavoro.worker where stopped is null and seen_at + lease < clock_timestamp())
