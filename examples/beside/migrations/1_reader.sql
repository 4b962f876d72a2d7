-- A migration like any other. The extension is there already: CREATE EXTENSION is for whoever administers the database.
CREATE TABLE reader (id bigint PRIMARY KEY, name text NOT NULL, loans int NOT NULL DEFAULT 0);
CREATE TABLE loan (id bigint GENERATED ALWAYS AS IDENTITY, reader bigint NOT NULL REFERENCES reader, book text NOT NULL);
SELECT cache_sync.attach('reader', versioned => true, rules => '{"loans": "add"}');
