-- Times are nanoseconds since the Unix epoch, UTC; ids the 16 bytes of a UUID.

CREATE TABLE orgs (
    id BLOB PRIMARY KEY NOT NULL,
    name TEXT NOT NULL UNIQUE,
    created_ns INTEGER NOT NULL
) STRICT;

-- The key itself is nowhere: it is random enough for a plain hash.
CREATE TABLE keys (
    id BLOB PRIMARY KEY NOT NULL,
    org_id BLOB NOT NULL REFERENCES orgs (id),
    kind TEXT NOT NULL CHECK (kind IN ('api', 'deploy')),
    sha256 BLOB NOT NULL UNIQUE,
    description TEXT NOT NULL,
    created_ns INTEGER NOT NULL
) STRICT;

CREATE TABLE clusters (
    id BLOB PRIMARY KEY NOT NULL,
    org_id BLOB NOT NULL REFERENCES orgs (id),
    uid TEXT NOT NULL,
    name TEXT NOT NULL,
    vizier_version TEXT NOT NULL DEFAULT '',
    cluster_version TEXT NOT NULL DEFAULT '',
    operator_version TEXT NOT NULL DEFAULT '',
    -- As `px.cvmsgspb.VizierStatus` numbers them.
    standing INTEGER NOT NULL DEFAULT 0,
    message TEXT NOT NULL DEFAULT '',
    heard_ns INTEGER,
    previous_standing INTEGER,
    previous_until_ns INTEGER,
    nodes INTEGER NOT NULL DEFAULT 0,
    instrumented_nodes INTEGER NOT NULL DEFAULT 0,
    -- A `px.cvmsgspb.VizierHeartbeat` with the pods alone.
    pods BLOB NOT NULL DEFAULT x'',
    UNIQUE (org_id, uid),
    UNIQUE (org_id, name)
) STRICT;

CREATE TABLE cron_scripts (
    id BLOB PRIMARY KEY NOT NULL,
    org_id BLOB NOT NULL REFERENCES orgs (id),
    script TEXT NOT NULL,
    cron_expression TEXT NOT NULL DEFAULT '',
    configs TEXT NOT NULL DEFAULT '',
    frequency_s INTEGER NOT NULL,
    -- NULL: on all clusters of the organisation.
    cluster_id BLOB REFERENCES clusters (id),
    changed_ns INTEGER NOT NULL,
    -- A script that is gone stays as long as a cluster may have to be told.
    deleted INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Up to which change of a script a cluster has said that it knows it.
CREATE TABLE cron_deliveries (
    cluster_id BLOB NOT NULL REFERENCES clusters (id),
    script_id BLOB NOT NULL REFERENCES cron_scripts (id),
    changed_ns INTEGER NOT NULL,
    PRIMARY KEY (cluster_id, script_id)
) STRICT;
