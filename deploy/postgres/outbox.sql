-- An outbox for `tailwater relay` (docs/sources.md, "postgres"): a table, a publication and a slot.
--
--     psql -v ON_ERROR_STOP=1 -f outbox.sql DATABASE
--
-- Needs wal_level = logical, and the rights to make all three (a superuser, or an owner with REPLICATION). Run it once, and not
-- in one transaction (psql -1): a slot cannot be made in a transaction that has written.
--
-- An application writes events in the transaction that they belong to, and may delete them in the same one. The relay gets
-- them all the same, and the table stays empty:
--
--     BEGIN;
--     UPDATE orders SET state = 'paid' WHERE id = 7;
--     INSERT INTO outbox (topic, type, data) VALUES ('orders/7', 'paid', '{"id": 7}');
--     DELETE FROM outbox WHERE topic = 'orders/7';
--     COMMIT;
--
-- Rows are never changed, and the table is neither truncated nor replaced by another one of its name.

CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic text NOT NULL,
    type text,
    -- json and jsonb are fine too.
    data text NOT NULL
);

-- The publication comes before the slot. A slot does not know a publication that is younger than itself, and never will.
CREATE PUBLICATION tailwater FOR TABLE outbox WITH (publish = 'insert');

-- From here on the server keeps its log until the relay has copied what is in it. max_slot_wal_keep_size limits that; a slot that
-- is no longer needed is dropped with SELECT pg_drop_replication_slot('tailwater').
SELECT pg_create_logical_replication_slot('tailwater', 'pgoutput');

-- The relay's user needs REPLICATION and a line in pg_hba.conf for this database; it needs no right to the table.
--
--     CREATE ROLE relay LOGIN REPLICATION PASSWORD '...';
