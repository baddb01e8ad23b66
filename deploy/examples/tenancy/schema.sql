-- One database for the baseline and all sandboxes: each request sees the rows of its own sandbox.
-- `app.sandbox` is the routing key of the transaction; without one, the rows are the baseline's.
CREATE ROLE app LOGIN PASSWORD 'app';

CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    item text NOT NULL,
    sandbox text DEFAULT nullif(current_setting('app.sandbox', true), '')
);
CREATE INDEX ON orders (sandbox);

-- A policy without WITH CHECK holds for rows that are written too. Superusers and the table's owner pass
-- it by, so the application is neither.
ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY sandbox ON orders
    USING (sandbox IS NOT DISTINCT FROM nullif(current_setting('app.sandbox', true), ''));
GRANT SELECT, INSERT, UPDATE, DELETE ON orders TO app;
