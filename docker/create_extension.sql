-- Runs once, in the database that the image makes with a new cluster.
CREATE EXTENSION cache_sync;
