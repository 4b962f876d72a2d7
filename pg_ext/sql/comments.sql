-- What psql shows of the schemas and tables. Functions and views have their comments beside them.

COMMENT ON SCHEMA cache_sync IS 'What people call of cache_sync, and its tables.';
COMMENT ON SCHEMA cache_sync_internal IS 'What cache_sync itself calls: it changes with every version.';
COMMENT ON TABLE cache_sync.attached IS 'The attached tables, as the extension notes them; the view tables says more.';
COMMENT ON TABLE cache_sync.field IS 'The fields of attached tables, with their rules.';
COMMENT ON TABLE cache_sync.session IS 'The numbered lines of batches of the clients.';
COMMENT ON TABLE cache_sync.dead_letter IS 'Refused patches, as the extension keeps them; the view dead_letters shows them.';
COMMENT ON TABLE cache_sync.secret IS 'The secret of this database with which keys are hashed; it is never dumped.';
