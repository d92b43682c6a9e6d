SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE SCHEMA depot;
CREATE SCHEMA rowledger;
CREATE FUNCTION rowledger.digest_of_chunks(of_load bigint) RETURNS text
    LANGUAGE sql STABLE
    AS $$
    select encode(sha256(convert_to(coalesce(jsonb_agg(jsonb_build_array(
        chunk.chunk_no, chunk.state, chunk.first_row, chunk.enqueued_rows, chunk.digest, chunk.written_rows,
        chunk.dead_lettered_rows, chunk.filtered_rows, chunk.added_rows, chunk.discarded_values, chunk.fingerprint
    ) order by chunk.chunk_no), '[]')::text, 'UTF8')), 'hex')
    from rowledger.chunk
    where chunk.load_id = of_load
$$;
COMMENT ON FUNCTION rowledger.digest_of_chunks(of_load bigint) IS 'What load.chunks_digest has to be.';
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE rowledger.load (
    load_id bigint NOT NULL,
    table_name text NOT NULL,
    target text NOT NULL,
    partition_key text NOT NULL,
    epoch integer DEFAULT 1 NOT NULL,
    state text DEFAULT 'loading'::text NOT NULL,
    manifest_digest text NOT NULL,
    enqueued_rows bigint NOT NULL,
    chunks integer NOT NULL,
    run_id text,
    started_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    ended_at timestamp with time zone,
    verdict text,
    contract_digest text DEFAULT ''::text NOT NULL,
    sealed boolean DEFAULT true NOT NULL,
    write_mode text DEFAULT 'replace'::text NOT NULL,
    content_digest text DEFAULT ''::text NOT NULL,
    base_load_id bigint,
    found_rows bigint,
    found_fingerprint jsonb,
    updated_rows bigint DEFAULT 0 NOT NULL,
    replaced_fingerprint jsonb,
    rowledger_version text DEFAULT ''::text NOT NULL,
    entry_digest text,
    chunks_digest text,
    CONSTRAINT load_chunks_check CHECK ((chunks >= 0)),
    CONSTRAINT load_enqueued_rows_check CHECK ((enqueued_rows >= 0)),
    CONSTRAINT load_epoch_check CHECK ((epoch > 0)),
    CONSTRAINT load_found_rows_check CHECK ((found_rows >= 0)),
    CONSTRAINT load_state_check CHECK ((state = ANY (ARRAY['loading'::text, 'published'::text, 'replaced'::text, 'rejected'::text, 'abandoned'::text, 'repeated'::text]))),
    CONSTRAINT load_updated_rows_check CHECK ((updated_rows >= 0)),
    CONSTRAINT load_write_mode_check CHECK ((write_mode = ANY (ARRAY['replace'::text, 'append'::text, 'upsert'::text])))
);
COMMENT ON TABLE rowledger.load IS 'One attempt to bring one partition into its table; it can be resumed while it is loading.';
COMMENT ON COLUMN rowledger.load.epoch IS 'Fencing number: each takeover raises it, each chunk transaction checks it.';
COMMENT ON COLUMN rowledger.load.contract_digest IS 'Of the row model, the key and the target''s columns: what was staged under others is not resumed.';
COMMENT ON COLUMN rowledger.load.sealed IS 'Whether the manifest is complete: a source that is loaded as it comes has all its chunks recorded only at its end.';
COMMENT ON COLUMN rowledger.load.write_mode IS 'How it was published.';
COMMENT ON COLUMN rowledger.load.content_digest IS 'Of the source''s rows, however they were cut: what an append adds only once.';
COMMENT ON COLUMN rowledger.load.base_load_id IS 'The load whose found rows this one''s add to: what is in the table are those, and what each load with this base added.';
COMMENT ON COLUMN rowledger.load.found_rows IS 'Rows that were there before the base load, and are nobody''s that is counted.';
COMMENT ON COLUMN rowledger.load.updated_rows IS 'Of the rows written, those that took the place of one with the same key.';
COMMENT ON COLUMN rowledger.load.replaced_fingerprint IS 'Of the rows whose place they took, as they were.';
COMMENT ON COLUMN rowledger.load.rowledger_version IS 'The Rowledger that began it or took it over last.';
COMMENT ON COLUMN rowledger.load.entry_digest IS 'Of this row, once the load has ended: whatever changes the row by the rules computes it anew, an edit by hand does not.';
COMMENT ON COLUMN rowledger.load.chunks_digest IS 'Of the load''s chunks, in the same way.';
CREATE FUNCTION rowledger.digest_of_entry(entry rowledger.load) RETURNS text
    LANGUAGE sql STABLE
    AS $$
    select encode(sha256(convert_to(jsonb_build_array(
        entry.load_id, entry.table_name, entry.target, entry.partition_key, entry.epoch, entry.state, entry.manifest_digest,
        entry.enqueued_rows, entry.chunks, entry.contract_digest, entry.sealed, entry.write_mode, entry.content_digest,
        entry.base_load_id, entry.found_rows, entry.found_fingerprint, entry.updated_rows, entry.replaced_fingerprint,
        entry.chunks_digest
    )::text, 'UTF8')), 'hex')
$$;
COMMENT ON FUNCTION rowledger.digest_of_entry(entry rowledger.load) IS 'What load.entry_digest has to be.';
CREATE TABLE depot.parcels (
    day date,
    parcel_id integer,
    label text
);
CREATE TABLE public.appended (
    day date NOT NULL,
    region text NOT NULL,
    sale_id integer NOT NULL,
    amount double precision
)
PARTITION BY RANGE (day);
COMMENT ON TABLE public.appended IS 'made by Rowledger (6bde60fc2496e230)';
CREATE TABLE public.appended_2024_03_01 (
    day date CONSTRAINT appended_day_not_null NOT NULL,
    region text CONSTRAINT appended_region_not_null NOT NULL,
    sale_id integer CONSTRAINT appended_sale_id_not_null NOT NULL,
    amount double precision
);
CREATE TABLE public.appended_2024_03_02 (
    day date CONSTRAINT appended_day_not_null NOT NULL,
    region text CONSTRAINT appended_region_not_null NOT NULL,
    sale_id integer CONSTRAINT appended_sale_id_not_null NOT NULL,
    amount double precision
);
CREATE TABLE public.by_day_and_region (
    day date NOT NULL,
    region text NOT NULL,
    sale_id integer NOT NULL,
    amount double precision
);
COMMENT ON TABLE public.by_day_and_region IS 'made by Rowledger (ad42faad326872f6)';
CREATE TABLE public.by_region (
    day date NOT NULL,
    region text NOT NULL,
    sale_id integer NOT NULL,
    amount double precision
)
PARTITION BY LIST (region);
COMMENT ON TABLE public.by_region IS 'made by Rowledger (f221a96af89159f1)';
CREATE TABLE public.by_region_north (
    day date CONSTRAINT by_region_day_not_null NOT NULL,
    region text CONSTRAINT by_region_region_not_null NOT NULL,
    sale_id integer CONSTRAINT by_region_sale_id_not_null NOT NULL,
    amount double precision
);
CREATE TABLE public.by_region_south (
    day date CONSTRAINT by_region_day_not_null NOT NULL,
    region text CONSTRAINT by_region_region_not_null NOT NULL,
    sale_id integer CONSTRAINT by_region_sale_id_not_null NOT NULL,
    amount double precision
);
CREATE TABLE public.events (
    at timestamp with time zone NOT NULL,
    event_id integer NOT NULL,
    name text NOT NULL,
    amount double precision NOT NULL,
    note text,
    code character varying(8) NOT NULL
)
PARTITION BY RANGE (at);
COMMENT ON TABLE public.events IS 'made by Rowledger (68c37fa21cf21447)';
CREATE TABLE public.events_2024_03_01 (
    at timestamp with time zone CONSTRAINT events_at_not_null NOT NULL,
    event_id integer CONSTRAINT events_event_id_not_null NOT NULL,
    name text CONSTRAINT events_name_not_null NOT NULL,
    amount double precision CONSTRAINT events_amount_not_null NOT NULL,
    note text,
    code character varying(8) CONSTRAINT events_code_not_null NOT NULL
);
CREATE TABLE public.events_2024_03_02 (
    at timestamp with time zone CONSTRAINT events_at_not_null NOT NULL,
    event_id integer CONSTRAINT events_event_id_not_null NOT NULL,
    name text CONSTRAINT events_name_not_null NOT NULL,
    amount double precision CONSTRAINT events_amount_not_null NOT NULL,
    note text,
    code character varying(8) CONSTRAINT events_code_not_null NOT NULL
);
CREATE TABLE public.moving (
    day date NOT NULL,
    region text NOT NULL,
    sale_id integer NOT NULL,
    amount double precision
);
COMMENT ON TABLE public.moving IS 'made by Rowledger (09b44000768b7b25)';
CREATE TABLE public.paths (
    day date NOT NULL,
    region text NOT NULL,
    sale_id integer NOT NULL,
    amount double precision
);
COMMENT ON TABLE public.paths IS 'made by Rowledger (1f56a580abe57838)';
CREATE TABLE public.readings (
    sensor integer NOT NULL,
    value double precision
);
CREATE TABLE public.ticks (
    at timestamp with time zone NOT NULL,
    price double precision NOT NULL
)
PARTITION BY RANGE (at);
COMMENT ON TABLE public.ticks IS 'made by Rowledger (610c4e065dfb7a90)';
CREATE TABLE public.ticks_2024_11_03_01_00_0500 (
    at timestamp with time zone CONSTRAINT ticks_at_not_null NOT NULL,
    price double precision CONSTRAINT ticks_price_not_null NOT NULL
);
CREATE TABLE public.upserted (
    day date NOT NULL,
    region text NOT NULL,
    sale_id integer NOT NULL,
    amount double precision
)
PARTITION BY RANGE (day);
COMMENT ON TABLE public.upserted IS 'made by Rowledger (9b3aa989a91c55e3)';
CREATE TABLE public.upserted_2024_03_01 (
    day date CONSTRAINT upserted_day_not_null NOT NULL,
    region text CONSTRAINT upserted_region_not_null NOT NULL,
    sale_id integer CONSTRAINT upserted_sale_id_not_null NOT NULL,
    amount double precision
);
CREATE TABLE public.upserted_2024_03_02 (
    day date CONSTRAINT upserted_day_not_null NOT NULL,
    region text CONSTRAINT upserted_region_not_null NOT NULL,
    sale_id integer CONSTRAINT upserted_sale_id_not_null NOT NULL,
    amount double precision
);
CREATE TABLE rowledger.chunk (
    load_id bigint NOT NULL,
    chunk_no integer NOT NULL,
    state text DEFAULT 'pending'::text NOT NULL,
    first_row bigint NOT NULL,
    enqueued_rows bigint NOT NULL,
    descriptor jsonb NOT NULL,
    written_rows bigint DEFAULT 0 NOT NULL,
    dead_lettered_rows bigint DEFAULT 0 NOT NULL,
    fingerprint jsonb,
    attempt integer,
    worker_pid integer,
    committed_at timestamp with time zone,
    digest text DEFAULT ''::text NOT NULL,
    filtered_rows bigint DEFAULT 0 NOT NULL,
    added_rows bigint DEFAULT 0 NOT NULL,
    discarded_values bigint DEFAULT 0 NOT NULL,
    row_types bytea,
    CONSTRAINT chunk_added_rows_check CHECK ((added_rows >= 0)),
    CONSTRAINT chunk_chunk_no_check CHECK ((chunk_no >= 0)),
    CONSTRAINT chunk_discarded_values_check CHECK ((discarded_values >= 0)),
    CONSTRAINT chunk_enqueued_rows_check CHECK ((enqueued_rows >= 0)),
    CONSTRAINT chunk_filtered_rows_check CHECK ((filtered_rows >= 0)),
    CONSTRAINT chunk_first_row_check CHECK ((first_row >= 0)),
    CONSTRAINT chunk_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'committed'::text])))
);
COMMENT ON TABLE rowledger.chunk IS 'The manifest, and what became of each of its chunks.';
COMMENT ON COLUMN rowledger.chunk.digest IS 'Of the chunk''s content, where it was spooled: a rerun compares it.';
COMMENT ON COLUMN rowledger.chunk.discarded_values IS 'Values of columns that the contract does not know, left out as the spec says.';
COMMENT ON COLUMN rowledger.chunk.row_types IS 'Arrow types of the source''s columns, where the chunk has dead letters: their JSON alone cannot tell a date from a text.';
CREATE TABLE rowledger.dead_letter (
    dead_letter_id bigint NOT NULL,
    load_id bigint NOT NULL,
    chunk_no integer NOT NULL,
    row_no bigint NOT NULL,
    stage text NOT NULL,
    reason text NOT NULL,
    sqlstate text,
    constraint_name text,
    column_name text,
    attempt integer NOT NULL,
    worker_pid integer NOT NULL,
    payload json NOT NULL,
    recorded_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    part integer DEFAULT 0 NOT NULL,
    source text DEFAULT ''::text NOT NULL,
    source_row bigint,
    payload_of text DEFAULT 'source'::text NOT NULL,
    traceback text DEFAULT ''::text NOT NULL,
    state text DEFAULT 'open'::text NOT NULL,
    revision integer DEFAULT 0 NOT NULL,
    replays integer DEFAULT 0 NOT NULL,
    mended_payload json,
    CONSTRAINT dead_letter_part_check CHECK ((part >= 0)),
    CONSTRAINT dead_letter_payload_of_check CHECK ((payload_of = ANY (ARRAY['source'::text, 'line'::text, 'transformed'::text]))),
    CONSTRAINT dead_letter_replays_check CHECK ((replays >= 0)),
    CONSTRAINT dead_letter_revision_check CHECK ((revision >= 0)),
    CONSTRAINT dead_letter_stage_check CHECK ((stage = ANY (ARRAY['source'::text, 'transform'::text, 'contract'::text, 'copy'::text, 'key'::text, 'crash'::text]))),
    CONSTRAINT dead_letter_state_check CHECK ((state = ANY (ARRAY['open'::text, 'mended'::text, 'replayed'::text, 'discarded'::text])))
);
COMMENT ON TABLE rowledger.dead_letter IS 'Rows that could not be written, each with its reason and its exact values.';
COMMENT ON COLUMN rowledger.dead_letter.payload IS 'json, not jsonb: it keeps NUL bytes, digits and key order as they were.';
COMMENT ON COLUMN rowledger.dead_letter.part IS 'Which of the rows that a transform made of this one, counted from 0.';
COMMENT ON COLUMN rowledger.dead_letter.source IS 'The file, address or query that the row came from.';
COMMENT ON COLUMN rowledger.dead_letter.source_row IS 'The row''s number in there, counted from 0.';
COMMENT ON COLUMN rowledger.dead_letter.payload_of IS 'What the payload holds: the row as the source has it, a line that is no row, or a row that a transform made.';
COMMENT ON COLUMN rowledger.dead_letter.revision IS 'Grows with each change: whoever changes a letter says which one he has seen.';
COMMENT ON COLUMN rowledger.dead_letter.replays IS 'How many replays have tried it.';
COMMENT ON COLUMN rowledger.dead_letter.mended_payload IS 'The row as somebody has edited it; payload stays what was refused.';
ALTER TABLE rowledger.dead_letter ALTER COLUMN dead_letter_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME rowledger.dead_letter_dead_letter_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE rowledger.failed_attempt (
    attempt_id bigint NOT NULL,
    table_name text NOT NULL,
    target text NOT NULL,
    partition_key text NOT NULL,
    load_id bigint,
    epoch integer,
    run_id text,
    kind text NOT NULL,
    reason text NOT NULL,
    failed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT failed_attempt_epoch_check CHECK ((epoch > 0))
);
COMMENT ON TABLE rowledger.failed_attempt IS 'How a run''s attempt at a partition failed; it holds no row values.';
COMMENT ON COLUMN rowledger.failed_attempt.load_id IS 'The load that the attempt had begun or taken over; null where it failed before that.';
COMMENT ON COLUMN rowledger.failed_attempt.epoch IS 'Of the load then: a later run that takes the load over has another one.';
COMMENT ON COLUMN rowledger.failed_attempt.kind IS 'The class of the error.';
ALTER TABLE rowledger.failed_attempt ALTER COLUMN attempt_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME rowledger.failed_attempt_attempt_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE rowledger.incident (
    incident_id bigint NOT NULL,
    load_id bigint,
    chunk_no integer,
    attempt integer NOT NULL,
    kind text NOT NULL,
    pid integer NOT NULL,
    host text NOT NULL,
    exit_code integer,
    summary text NOT NULL,
    stderr_tail text DEFAULT ''::text NOT NULL,
    run_id text,
    detected_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
COMMENT ON TABLE rowledger.incident IS 'What a guard noticed, mostly the death of a worker; exit_code is minus the signal number where a signal ended it.';
ALTER TABLE rowledger.incident ALTER COLUMN incident_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME rowledger.incident_incident_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE rowledger.lease (
    load_id bigint NOT NULL,
    holder uuid NOT NULL,
    holder_pid integer NOT NULL,
    holder_host text NOT NULL,
    backend_pid integer NOT NULL,
    backend_start timestamp with time zone NOT NULL,
    renewals bigint DEFAULT 0 NOT NULL,
    lease_s double precision DEFAULT 10 NOT NULL
);
COMMENT ON TABLE rowledger.lease IS 'Who is working on a load right now. A courtesy between runs: what keeps rows right is the epoch.';
COMMENT ON COLUMN rowledger.lease.lease_s IS 'Seconds without a renewal after which another run may take over.';
CREATE TABLE rowledger.letter_event (
    event_id bigint NOT NULL,
    dead_letter_id bigint NOT NULL,
    state text NOT NULL,
    happened_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    actor text NOT NULL,
    note text DEFAULT ''::text NOT NULL,
    run_id text,
    replay uuid,
    written_rows integer DEFAULT 0 NOT NULL,
    stage text,
    reason text,
    sqlstate text,
    constraint_name text,
    column_name text,
    traceback text DEFAULT ''::text NOT NULL,
    CONSTRAINT letter_event_state_check CHECK ((state = ANY (ARRAY['open'::text, 'mended'::text, 'replayed'::text, 'discarded'::text]))),
    CONSTRAINT letter_event_written_rows_check CHECK ((written_rows >= 0))
);
COMMENT ON TABLE rowledger.letter_event IS 'What became of a dead letter after its load: the state it came to, by whom, and why a replay refused it again.';
COMMENT ON COLUMN rowledger.letter_event.replay IS 'The replay that tried it: one value a command or a run.';
COMMENT ON COLUMN rowledger.letter_event.written_rows IS 'Rows that a replay wrote for it: none where a transform filters it.';
ALTER TABLE rowledger.letter_event ALTER COLUMN event_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME rowledger.letter_event_event_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
ALTER TABLE rowledger.load ALTER COLUMN load_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME rowledger.load_load_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE rowledger.schema_version (
    version integer NOT NULL,
    name text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL,
    checksum text,
    rowledger_version text
);
COMMENT ON COLUMN rowledger.schema_version.checksum IS 'SHA-256 of the migration''s text: one that was edited since is noticed.';
COMMENT ON COLUMN rowledger.schema_version.rowledger_version IS 'The Rowledger that applied it, where that was recorded.';
CREATE TABLE rowledger.staging_19 (
    at timestamp with time zone CONSTRAINT events_at_not_null NOT NULL,
    event_id integer CONSTRAINT events_event_id_not_null NOT NULL,
    name text CONSTRAINT events_name_not_null NOT NULL,
    amount double precision CONSTRAINT events_amount_not_null NOT NULL,
    note text,
    code character varying(8) CONSTRAINT events_code_not_null NOT NULL,
    CONSTRAINT rowledger_bounds CHECK (((at IS NOT NULL) AND (at >= '2024-03-03 00:00:00+00'::timestamp with time zone) AND (at < '2024-03-04 00:00:00+00'::timestamp with time zone)))
);
ALTER TABLE ONLY public.appended ATTACH PARTITION public.appended_2024_03_01 FOR VALUES FROM ('2024-03-01') TO ('2024-03-02');
ALTER TABLE ONLY public.appended ATTACH PARTITION public.appended_2024_03_02 FOR VALUES FROM ('2024-03-02') TO ('2024-03-03');
ALTER TABLE ONLY public.by_region ATTACH PARTITION public.by_region_north FOR VALUES IN ('north');
ALTER TABLE ONLY public.by_region ATTACH PARTITION public.by_region_south FOR VALUES IN ('south');
ALTER TABLE ONLY public.events ATTACH PARTITION public.events_2024_03_01 FOR VALUES FROM ('2024-03-01 00:00:00+00') TO ('2024-03-02 00:00:00+00');
ALTER TABLE ONLY public.events ATTACH PARTITION public.events_2024_03_02 FOR VALUES FROM ('2024-03-02 00:00:00+00') TO ('2024-03-03 00:00:00+00');
ALTER TABLE ONLY public.ticks ATTACH PARTITION public.ticks_2024_11_03_01_00_0500 FOR VALUES FROM ('2024-11-03 06:00:00+00') TO ('2024-11-03 07:00:00+00');
ALTER TABLE ONLY public.upserted ATTACH PARTITION public.upserted_2024_03_01 FOR VALUES FROM ('2024-03-01') TO ('2024-03-02');
ALTER TABLE ONLY public.upserted ATTACH PARTITION public.upserted_2024_03_02 FOR VALUES FROM ('2024-03-02') TO ('2024-03-03');
COPY depot.parcels (day, parcel_id, label) FROM stdin;
2024-03-01	0	parcel 0 of 2024-03-01
2024-03-01	1	parcel 1 of 2024-03-01
2024-03-01	2	parcel 2 of 2024-03-01
2024-03-01	3	parcel 3 of 2024-03-01
2024-03-01	6	parcel 6 of 2024-03-01
2024-03-01	7	parcel 7 of 2024-03-01
2024-03-01	8	parcel 8 of 2024-03-01
2024-03-01	9	parcel 9 of 2024-03-01
2024-03-01	10	parcel 10 of 2024-03-01
2024-03-01	11	parcel 11 of 2024-03-01
2024-03-01	4	a (sour)
\.
COPY public.appended_2024_03_01 (day, region, sale_id, amount) FROM stdin;
2024-03-01	north	0	\N
2024-03-01	south	1	1.3333333333333333
2024-03-01	north	2	1.6666666666666665
2024-03-01	south	3	2
2024-03-01	north	4	2.333333333333333
2024-03-01	south	5	2.666666666666667
2024-03-01	north	6	3
2024-03-01	south	7	\N
2024-03-01	north	8	3.6666666666666665
2024-03-01	south	9	4
2024-03-01	north	10	4.333333333333334
2024-03-01	south	11	4.666666666666666
2024-03-01	north	12	5
2024-03-01	south	13	5.333333333333333
2024-03-01	north	14	\N
2024-03-01	south	15	6
2024-03-01	north	16	6.333333333333333
\.
COPY public.appended_2024_03_02 (day, region, sale_id, amount) FROM stdin;
2024-03-02	north	0	\N
2024-03-02	south	1	1.3333333333333333
2024-03-02	north	2	1.6666666666666665
2024-03-02	south	3	2
2024-03-02	north	4	2.333333333333333
2024-03-02	south	5	2.666666666666667
2024-03-02	north	6	3
2024-03-02	south	7	\N
2024-03-02	north	8	3.6666666666666665
2024-03-02	south	9	4
2024-03-02	north	10	4.333333333333334
2024-03-02	south	11	4.666666666666666
\.
COPY public.by_day_and_region (day, region, sale_id, amount) FROM stdin;
2024-03-01	south	0	\N
2024-03-01	south	1	1.3333333333333333
2024-03-01	south	2	1.6666666666666665
2024-03-01	south	3	2
2024-03-01	south	4	2.333333333333333
2024-03-01	south	5	2.666666666666667
2024-03-01	south	6	3
2024-03-01	south	7	\N
2024-03-01	south	8	3.6666666666666665
2024-03-01	south	9	4
2024-03-01	south	10	4.333333333333334
2024-03-01	south	11	4.666666666666666
2024-03-01	north	0	\N
2024-03-01	north	1	1.3333333333333333
2024-03-01	north	2	1.6666666666666665
2024-03-01	north	3	2
2024-03-01	north	4	2.333333333333333
2024-03-01	north	5	2.666666666666667
2024-03-01	north	6	3
2024-03-01	north	7	\N
2024-03-01	north	8	3.6666666666666665
2024-03-01	north	9	4
2024-03-01	north	10	4.333333333333334
2024-03-01	north	11	4.666666666666666
\.
COPY public.by_region_north (day, region, sale_id, amount) FROM stdin;
2024-03-01	north	0	\N
2024-03-01	north	1	1.3333333333333333
2024-03-01	north	2	1.6666666666666665
2024-03-01	north	3	2
2024-03-01	north	4	2.333333333333333
2024-03-01	north	5	2.666666666666667
2024-03-01	north	6	3
2024-03-01	north	7	\N
2024-03-01	north	8	3.6666666666666665
2024-03-01	north	9	4
2024-03-01	north	10	4.333333333333334
2024-03-01	north	11	4.666666666666666
\.
COPY public.by_region_south (day, region, sale_id, amount) FROM stdin;
2024-03-01	south	0	\N
2024-03-01	south	1	1.3333333333333333
2024-03-01	south	2	1.6666666666666665
2024-03-01	south	3	2
2024-03-01	south	4	2.333333333333333
2024-03-01	south	5	2.666666666666667
2024-03-01	south	6	3
2024-03-01	south	7	\N
2024-03-01	south	8	3.6666666666666665
2024-03-01	south	9	4
2024-03-01	south	10	4.333333333333334
2024-03-01	south	11	4.666666666666666
\.
COPY public.events_2024_03_01 (at, event_id, name, amount, note, code) FROM stdin;
2024-03-01 00:00:00+00	0	event 0 of 2024-03-01, ünïcode	0	\N	C0
2024-03-01 00:00:01+00	1	event 1 of 2024-03-01, ünïcode	0.3333333333333333	note 1	C1
2024-03-01 00:00:02+00	2	event 2 of 2024-03-01, ünïcode	0.6666666666666666	note 2	C2
2024-03-01 00:00:04+00	4	event 4 of 2024-03-01, ünïcode	1.3333333333333333	note 4	C4
2024-03-01 00:00:06+00	6	event 6 of 2024-03-01, ünïcode	2	note 6	C6
2024-03-01 00:00:07+00	7	event 7 of 2024-03-01, ünïcode	2.3333333333333335	note 7	C7
2024-03-01 00:00:08+00	8	event 8 of 2024-03-01, ünïcode	2.6666666666666665	note 8	C8
2024-03-01 00:00:09+00	9	event 9 of 2024-03-01, ünïcode	3	note 9	C9
2024-03-01 00:00:10+00	10	event 10 of 2024-03-01, ünïcode	3.3333333333333335	\N	C10
2024-03-01 00:00:11+00	11	event 11 of 2024-03-01, ünïcode	3.6666666666666665	note 11	C11
\.
COPY public.events_2024_03_02 (at, event_id, name, amount, note, code) FROM stdin;
2024-03-02 00:00:00+00	0	event 0 of 2024-03-02, ünïcode	0	\N	C0
2024-03-02 00:00:01+00	1	event 1 of 2024-03-02, ünïcode	0.3333333333333333	note 1	C1
2024-03-02 00:00:02+00	2	event 2 of 2024-03-02, ünïcode	0.6666666666666666	note 2	C2
2024-03-02 00:00:04+00	4	event 4 of 2024-03-02, ünïcode	1.3333333333333333	note 4	C4
2024-03-02 00:00:06+00	6	event 6 of 2024-03-02, ünïcode	2	note 6	C6
2024-03-02 00:00:07+00	7	event 7 of 2024-03-02, ünïcode	2.3333333333333335	note 7	C7
2024-03-02 00:00:08+00	8	event 8 of 2024-03-02, ünïcode	2.6666666666666665	note 8	C8
2024-03-02 00:00:09+00	9	event 9 of 2024-03-02, ünïcode	3	note 9	C9
2024-03-02 00:00:10+00	10	event 10 of 2024-03-02, ünïcode	3.3333333333333335	\N	C10
2024-03-02 00:00:11+00	11	event 11 of 2024-03-02, ünïcode	3.6666666666666665	note 11	C11
\.
COPY public.moving (day, region, sale_id, amount) FROM stdin;
2024-03-01	north	0	\N
2024-03-01	south	1	1.3333333333333333
2024-03-01	north	2	1.6666666666666665
2024-03-01	south	3	2
2024-03-01	north	4	2.333333333333333
2024-03-01	south	5	2.666666666666667
2024-03-01	north	6	3
2024-03-01	south	7	\N
2024-03-01	north	8	3.6666666666666665
2024-03-01	south	9	4
2024-03-01	north	10	4.333333333333334
2024-03-01	south	11	4.666666666666666
\.
COPY public.paths (day, region, sale_id, amount) FROM stdin;
2024-03-01	b	0	\N
2024-03-01	b	1	1.3333333333333333
2024-03-01	b	2	1.6666666666666665
2024-03-01	b	3	2
2024-03-01	b	4	2.333333333333333
2024-03-01	b	5	2.666666666666667
2024-03-01	b	6	3
2024-03-01	b	7	\N
2024-03-01	b	8	3.6666666666666665
2024-03-01	b	9	4
2024-03-01	b	10	4.333333333333334
2024-03-01	b	11	4.666666666666666
2024-03-01	a	0	\N
2024-03-01	a	1	1.3333333333333333
2024-03-01	a	2	1.6666666666666665
2024-03-01	a	3	2
2024-03-01	a	4	2.333333333333333
2024-03-01	a	5	2.666666666666667
2024-03-01	a	6	3
2024-03-01	a	7	\N
2024-03-01	a	8	3.6666666666666665
2024-03-01	a	9	4
2024-03-01	a	10	4.333333333333334
2024-03-01	a	11	4.666666666666666
\.
COPY public.readings (sensor, value) FROM stdin;
0	\N
1	0.25
3	0.75
4	1
5	1.25
6	1.5
0	1.75
1	2
2	2.25
3	2.5
4	\N
\.
COPY public.ticks_2024_11_03_01_00_0500 (at, price) FROM stdin;
2024-11-03 06:00:00+00	0
2024-11-03 06:11:00+00	0.25
2024-11-03 06:22:00+00	0.5
2024-11-03 06:33:00+00	0.75
2024-11-03 06:44:00+00	1
\.
COPY public.upserted_2024_03_01 (day, region, sale_id, amount) FROM stdin;
2024-03-01	north	0	\N
2024-03-01	south	1	1.3333333333333333
2024-03-01	north	2	1.6666666666666665
2024-03-01	south	3	2
2024-03-01	north	4	2.333333333333333
2024-03-01	south	5	2.666666666666667
2024-03-01	north	6	3
2024-03-01	south	7	\N
2024-03-01	north	8	3.6666666666666665
2024-03-01	south	9	4
2024-03-01	north	10	4.333333333333334
2024-03-01	south	11	4.666666666666666
2024-03-01	north	12	5
2024-03-01	south	13	5.333333333333333
2024-03-01	north	14	\N
2024-03-01	south	15	6
2024-03-01	north	16	6.333333333333333
\.
COPY public.upserted_2024_03_02 (day, region, sale_id, amount) FROM stdin;
2024-03-02	north	0	\N
2024-03-02	south	1	1.3333333333333333
2024-03-02	north	2	1.6666666666666665
2024-03-02	south	3	2
2024-03-02	north	4	2.333333333333333
2024-03-02	south	5	2.666666666666667
2024-03-02	north	6	3
2024-03-02	south	7	\N
2024-03-02	north	8	3.6666666666666665
2024-03-02	south	9	4
2024-03-02	north	10	4.333333333333334
2024-03-02	south	11	4.666666666666666
\.
COPY rowledger.chunk (load_id, chunk_no, state, first_row, enqueued_rows, descriptor, written_rows, dead_lettered_rows, fingerprint, attempt, worker_pid, committed_at, digest, filtered_rows, added_rows, discarded_values, row_types) FROM stdin;
10	0	committed	0	12	{"path": "/landing/sales/2024-03-02.parquet", "rows": 12, "origin": "/landing/sales/2024-03-02.parquet", "file_bytes": 1622, "file_inode": 3671770, "origin_row": 0, "row_offset": 0, "file_digest": "77873afa74a3a0ae0be1e198d2c73dbf", "rows_digest": "", "file_ctime_ns": 1795984172862198578, "file_mtime_ns": 1795984172862198578, "column_readers": {}}	12	0	{"day": ["12", "105924"], "amount": ["10", "-3581613338"], "region": ["12", "-22334143218"], "sale_id": ["12", "66"]}	1	22860	2026-11-29 20:29:37.757399+00	77873afa74a3a0ae0be1e198d2c73dbf	0	0	0	\N
2	0	committed	0	12	{"path": "/landing/events/2024-03-02.parquet", "rows": 12, "origin": "/landing/events/2024-03-02.parquet", "file_bytes": 2761, "file_inode": 3663907, "origin_row": 0, "row_offset": 0, "file_digest": "18788b63e8ef7f09aeb2e15a5e33d3a8", "rows_digest": "", "file_ctime_ns": 1795984140184119996, "file_mtime_ns": 1795984140184119996, "column_readers": {}}	10	2	{"at": ["10", "1458615754"], "code": ["10", "5275338943"], "name": ["10", "-3802066835"], "note": ["8", "-1238473306"], "amount": ["10", "1961829932"], "event_id": ["10", "58"]}	1	22106	2026-11-29 20:29:04.641034+00	18788b63e8ef7f09aeb2e15a5e33d3a8	0	0	0	\\x4152524f5731000004000000f2ffffff140000000400010000000a000b0008000a000400f8ffffff0c00000008000800000004000600000000010000c0000000900000005c000000300000000400000004ffffff18000000100000000800000001180000000000007cffffff04000000636f6465000000002cffffff1800000010000000080000000118000000000000a4ffffff040000006e6f74650000000054ffffff2000000010000000080000000103000000000000faffffff020006000600040006000000616d6f756e74000084ffffff1c00000010000000080000000118000000000000fcffffff04000400040000006e616d6500000000b0ffffff2800000010000000080000000102000000000000f4ffffff40000000010000000800090004000800080000006576656e745f696400000000ecffffff400000002000000018000000010a000010001200040010001100080000000c0000000000f4ffffff100000000200000008000a00080004000300000055544300020000006174000000000000ffffffff0000000004000000ecffffff280000002000000014000000040000000c0012001000040008000c00000000000000000000000000f8ffffff0c00000008000800000004000600000000010000c0000000900000005c000000300000000400000004ffffff18000000100000000800000001180000000000007cffffff04000000636f6465000000002cffffff1800000010000000080000000118000000000000a4ffffff040000006e6f74650000000054ffffff2000000010000000080000000103000000000000faffffff020006000600040006000000616d6f756e74000084ffffff1c00000010000000080000000118000000000000fcffffff04000400040000006e616d6500000000b0ffffff2800000010000000080000000102000000000000f4ffffff40000000010000000800090004000800080000006576656e745f696400000000ecffffff400000002000000018000000010a000010001200040010001100080000000c0000000000f4ffffff100000000200000008000a00080004000300000055544300020000006174008f0100004152524f5731
11	0	committed	0	12	{"path": "/landing/sales/2024-03-02.parquet", "rows": 12, "origin": "/landing/sales/2024-03-02.parquet", "file_bytes": 1622, "file_inode": 3671770, "origin_row": 0, "row_offset": 0, "file_digest": "77873afa74a3a0ae0be1e198d2c73dbf", "rows_digest": "", "file_ctime_ns": 1795984172862198578, "file_mtime_ns": 1795984172862198578, "column_readers": {}}	12	0	{"day": ["12", "105924"], "amount": ["10", "-3581613338"], "region": ["12", "-22334143218"], "sale_id": ["12", "66"]}	1	23001	2026-11-29 20:29:41.872269+00	77873afa74a3a0ae0be1e198d2c73dbf	0	0	0	\N
1	0	committed	0	12	{"path": "/landing/events/2024-03-01.parquet", "rows": 12, "origin": "/landing/events/2024-03-01.parquet", "file_bytes": 2761, "file_inode": 3663906, "origin_row": 0, "row_offset": 0, "file_digest": "52fe99f7d468fd905567713cc22d05a0", "rows_digest": "", "file_ctime_ns": 1795984140164119995, "file_mtime_ns": 1795984140164119995, "column_readers": {}}	10	2	{"at": ["10", "1711873014"], "code": ["10", "5275338943"], "name": ["10", "1555889261"], "note": ["8", "-1238473306"], "amount": ["10", "1961829932"], "event_id": ["10", "58"]}	1	22106	2026-11-29 20:29:04.786911+00	52fe99f7d468fd905567713cc22d05a0	0	0	0	\\x4152524f5731000004000000f2ffffff140000000400010000000a000b0008000a000400f8ffffff0c00000008000800000004000600000000010000c0000000900000005c000000300000000400000004ffffff18000000100000000800000001180000000000007cffffff04000000636f6465000000002cffffff1800000010000000080000000118000000000000a4ffffff040000006e6f74650000000054ffffff2000000010000000080000000103000000000000faffffff020006000600040006000000616d6f756e74000084ffffff1c00000010000000080000000118000000000000fcffffff04000400040000006e616d6500000000b0ffffff2800000010000000080000000102000000000000f4ffffff40000000010000000800090004000800080000006576656e745f696400000000ecffffff400000002000000018000000010a000010001200040010001100080000000c0000000000f4ffffff100000000200000008000a00080004000300000055544300020000006174000000000000ffffffff0000000004000000ecffffff280000002000000014000000040000000c0012001000040008000c00000000000000000000000000f8ffffff0c00000008000800000004000600000000010000c0000000900000005c000000300000000400000004ffffff18000000100000000800000001180000000000007cffffff04000000636f6465000000002cffffff1800000010000000080000000118000000000000a4ffffff040000006e6f74650000000054ffffff2000000010000000080000000103000000000000faffffff020006000600040006000000616d6f756e74000084ffffff1c00000010000000080000000118000000000000fcffffff04000400040000006e616d6500000000b0ffffff2800000010000000080000000102000000000000f4ffffff40000000010000000800090004000800080000006576656e745f696400000000ecffffff400000002000000018000000010a000010001200040010001100080000000c0000000000f4ffffff100000000200000008000a00080004000300000055544300020000006174008f0100004152524f5731
12	0	committed	0	12	{"path": "/landing/sales/2024-03-01.parquet", "rows": 12, "origin": "/landing/sales/2024-03-01.parquet", "file_bytes": 1622, "file_inode": 3671704, "origin_row": 0, "row_offset": 0, "file_digest": "b95a095d4d6fd7ac2cbe120aaf24a818", "rows_digest": "", "file_ctime_ns": 1795984172856121511, "file_mtime_ns": 1795984172856121511, "column_readers": {}}	12	0	{"day": ["12", "105912"], "amount": ["10", "-3581613338"], "region": ["12", "-22334143218"], "sale_id": ["12", "66"]}	1	23001	2026-11-29 20:29:42.000788+00	b95a095d4d6fd7ac2cbe120aaf24a818	0	0	0	\N
13	0	committed	0	12	{"path": "/landing/sales/2024-03-01.parquet", "rows": 12, "origin": "/landing/sales/2024-03-01.parquet", "file_bytes": 1622, "file_inode": 3671704, "origin_row": 0, "row_offset": 0, "file_digest": "b95a095d4d6fd7ac2cbe120aaf24a818", "rows_digest": "", "file_ctime_ns": 1795984172856121511, "file_mtime_ns": 1795984172856121511, "column_readers": {}}	12	0	{"day": ["12", "105912"], "amount": ["10", "-3581613338"], "region": ["12", "-22334143218"], "sale_id": ["12", "66"]}	1	23097	2026-11-29 20:29:46.504757+00	b95a095d4d6fd7ac2cbe120aaf24a818	0	0	0	\N
14	0	committed	0	5	{"path": "/landing/sales/2024-03-01.parquet", "rows": 5, "origin": "/landing/sales/2024-03-01.parquet", "file_bytes": 1566, "file_inode": 3671704, "origin_row": 0, "row_offset": 0, "file_digest": "b52e6e346c07229cab2c0a2c97be3c8c", "rows_digest": "", "file_ctime_ns": 1795984187139376165, "file_mtime_ns": 1795984187139376165, "column_readers": {}}	5	0	{"day": ["5", "44130"], "amount": ["4", "-3156534103"], "region": ["5", "-9083221775"], "sale_id": ["5", "70"]}	1	23212	2026-11-29 20:29:51.456665+00	b52e6e346c07229cab2c0a2c97be3c8c	0	0	0	\N
15	0	committed	0	5	{"path": "/landing/sales/2024-03-01.parquet", "rows": 5, "origin": "/landing/sales/2024-03-01.parquet", "file_bytes": 1566, "file_inode": 3671704, "origin_row": 0, "row_offset": 0, "file_digest": "b52e6e346c07229cab2c0a2c97be3c8c", "rows_digest": "", "file_ctime_ns": 1795984187139376165, "file_mtime_ns": 1795984187139376165, "column_readers": {}}	5	0	{"day": ["5", "44130"], "amount": ["4", "-3156534103"], "region": ["5", "-9083221775"], "sale_id": ["5", "70"]}	1	23331	2026-11-29 20:29:56.200279+00	b52e6e346c07229cab2c0a2c97be3c8c	0	0	0	\N
3	0	committed	0	12	{"path": "/landing/parcels/2024-03-01.parquet", "rows": 12, "origin": "/landing/parcels/2024-03-01.parquet", "file_bytes": 1436, "file_inode": 3670035, "origin_row": 0, "row_offset": 0, "file_digest": "9e166b07e43e0864c1f0a647711c42c1", "rows_digest": "", "file_ctime_ns": 1795984145424120239, "file_mtime_ns": 1795984145424120239, "column_readers": {}}	11	1	{"day": ["11", "97086"], "label": ["11", "11079382871"], "parcel_id": ["11", "61"]}	1	22255	2026-11-29 20:29:09.59319+00	9e166b07e43e0864c1f0a647711c42c1	0	0	0	\\x4152524f5731000004000000f2ffffff140000000400010000000a000b0008000a000400f8ffffff0c00000008000800000004000300000074000000340000000400000084ffffff1c00000010000000080000000118000000000000fcffffff04000400050000006c6162656c000000b0ffffff2800000010000000080000000102000000000000f4ffffff400000000100000008000900040008000900000070617263656c5f6964000000ecffffff3000000020000000180000000108000010001200040010001100080000000c0000000000faffffff00000600060004000300000064617900ffffffff0000000004000000ecffffff280000002000000014000000040000000c0012001000040008000c00000000000000000000000000f8ffffff0c00000008000800000004000300000074000000340000000400000084ffffff1c00000010000000080000000118000000000000fcffffff04000400050000006c6162656c000000b0ffffff2800000010000000080000000102000000000000f4ffffff400000000100000008000900040008000900000070617263656c5f6964000000ecffffff3000000020000000180000000108000010001200040010001100080000000c0000000000faffffff00000600060004000300000064617900f40000004152524f5731
4	0	committed	0	12	{"path": "/landing/readings/all.parquet", "rows": 12, "origin": "/landing/readings/all.parquet", "file_bytes": 960, "file_inode": 3670308, "origin_row": 0, "row_offset": 0, "file_digest": "7467f53021828928fcc5458d94084d97", "rows_digest": "", "file_ctime_ns": 1795984154800120674, "file_mtime_ns": 1795984154800120674, "column_readers": {}}	11	1	{"value": ["9", "-490623039"], "sensor": ["11", "29"]}	1	22493	2026-11-29 20:29:19.588511+00	7467f53021828928fcc5458d94084d97	0	0	0	\\x4152524f5731000004000000f2ffffff140000000400010000000a000b0008000a000400f8ffffff0c0000000800080000000400020000003800000004000000bcffffff2000000010000000080000000103000000000000faffffff02000600060004000500000076616c7565000000ecffffff3800000020000000180000000102000010001200040010001100080000000c0000000000f4ffffff400000000100000008000900040008000600000073656e736f720000ffffffff0000000004000000ecffffff280000002000000014000000040000000c0012001000040008000c00000000000000000000000000f8ffffff0c0000000800080000000400020000003800000004000000bcffffff2000000010000000080000000103000000000000faffffff02000600060004000500000076616c7565000000ecffffff3800000020000000180000000102000010001200040010001100080000000c0000000000f4ffffff400000000100000008000900040008000600000073656e736f7200c30000004152524f5731
6	0	committed	0	12	{"path": "/landing/sales/north.parquet", "rows": 12, "origin": "/landing/sales/north.parquet", "file_bytes": 1611, "file_inode": 3670310, "origin_row": 0, "row_offset": 0, "file_digest": "50af5b57240dce5cb0bf5d29356296bd", "rows_digest": "", "file_ctime_ns": 1795984160188120923, "file_mtime_ns": 1795984160188120923, "column_readers": {}}	12	0	{"day": ["12", "105912"], "amount": ["10", "-3581613338"], "region": ["12", "-19662088428"], "sale_id": ["12", "66"]}	1	22600	2026-11-29 20:29:25.623808+00	50af5b57240dce5cb0bf5d29356296bd	0	0	0	\N
5	0	committed	0	12	{"path": "/landing/sales/south.parquet", "rows": 12, "origin": "/landing/sales/south.parquet", "file_bytes": 1611, "file_inode": 3670313, "origin_row": 0, "row_offset": 0, "file_digest": "7e275f4a40f60bb0fb86114c107df341", "rows_digest": "", "file_ctime_ns": 1795984160192120924, "file_mtime_ns": 1795984160192120924, "column_readers": {}}	12	0	{"day": ["12", "105912"], "amount": ["10", "-3581613338"], "region": ["12", "-25006198008"], "sale_id": ["12", "66"]}	1	22600	2026-11-29 20:29:25.520047+00	7e275f4a40f60bb0fb86114c107df341	0	0	0	\N
8	0	committed	0	12	{"path": "/landing/sales/south/2024-03-01.parquet", "rows": 12, "origin": "/landing/sales/south/2024-03-01.parquet", "file_bytes": 1611, "file_inode": 3670315, "origin_row": 0, "row_offset": 0, "file_digest": "7e275f4a40f60bb0fb86114c107df341", "rows_digest": "", "file_ctime_ns": 1795984160192120924, "file_mtime_ns": 1795984160192120924, "column_readers": {}}	12	0	{"day": ["12", "105912"], "amount": ["10", "-3581613338"], "region": ["12", "-25006198008"], "sale_id": ["12", "66"]}	1	22703	2026-11-29 20:29:32.173294+00	7e275f4a40f60bb0fb86114c107df341	0	0	0	\N
7	0	committed	0	12	{"path": "/landing/sales/north/2024-03-01.parquet", "rows": 12, "origin": "/landing/sales/north/2024-03-01.parquet", "file_bytes": 1611, "file_inode": 3670312, "origin_row": 0, "row_offset": 0, "file_digest": "50af5b57240dce5cb0bf5d29356296bd", "rows_digest": "", "file_ctime_ns": 1795984160192120924, "file_mtime_ns": 1795984160192120924, "column_readers": {}}	12	0	{"day": ["12", "105912"], "amount": ["10", "-3581613338"], "region": ["12", "-19662088428"], "sale_id": ["12", "66"]}	1	22703	2026-11-29 20:29:32.0562+00	50af5b57240dce5cb0bf5d29356296bd	0	0	0	\N
9	0	committed	0	12	{"path": "/landing/sales/2024-03-01.parquet", "rows": 12, "origin": "/landing/sales/2024-03-01.parquet", "file_bytes": 1622, "file_inode": 3671704, "origin_row": 0, "row_offset": 0, "file_digest": "b95a095d4d6fd7ac2cbe120aaf24a818", "rows_digest": "", "file_ctime_ns": 1795984172856121511, "file_mtime_ns": 1795984172856121511, "column_readers": {}}	12	0	{"day": ["12", "105912"], "amount": ["10", "-3581613338"], "region": ["12", "-22334143218"], "sale_id": ["12", "66"]}	1	22860	2026-11-29 20:29:37.648333+00	b95a095d4d6fd7ac2cbe120aaf24a818	0	0	0	\N
16	0	committed	0	12	{"path": "/landing/sales/b.parquet", "rows": 12, "origin": "/landing/sales/b.parquet", "file_bytes": 1573, "file_inode": 3670331, "origin_row": 0, "row_offset": 0, "file_digest": "53a7e713c9e45af33c96f6469be31dee", "rows_digest": "", "file_ctime_ns": 1795984196649494535, "file_mtime_ns": 1795984196649494535, "column_readers": {}}	12	0	{"day": ["12", "105912"], "amount": ["10", "-3581613338"], "region": ["12", "-825853056"], "sale_id": ["12", "66"]}	1	23461	2026-11-29 20:30:00.636911+00	53a7e713c9e45af33c96f6469be31dee	0	0	0	\N
17	0	committed	0	12	{"path": "/landing/sales/a.parquet", "rows": 12, "origin": "/landing/sales/a.parquet", "file_bytes": 1573, "file_inode": 3670330, "origin_row": 0, "row_offset": 0, "file_digest": "a1212e96785330513d1e092fb5ba2e78", "rows_digest": "", "file_ctime_ns": 1795984196644245956, "file_mtime_ns": 1795984196644245956, "column_readers": {}}	12	0	{"day": ["12", "105912"], "amount": ["10", "-3581613338"], "region": ["12", "12900190284"], "sale_id": ["12", "66"]}	1	23461	2026-11-29 20:30:00.705927+00	a1212e96785330513d1e092fb5ba2e78	0	0	0	\N
19	1	committed	100	100	{"path": "/landing/events/2024-03-03.parquet", "rows": 100, "origin": "/landing/events/2024-03-03.parquet", "file_bytes": 10090, "file_inode": 3663143, "origin_row": 100, "row_offset": 100, "file_digest": "726c77d49928aaf1dfd7de355599f407", "rows_digest": "", "file_ctime_ns": 1795984205904123043, "file_mtime_ns": 1795984205904123043, "column_readers": {}}	100	0	{"at": ["100", "5579937690"], "code": ["100", "9119201665"], "name": ["100", "5151477899"], "note": ["80", "-23952814141"], "amount": ["100", "19370726991"], "event_id": ["100", "14950"]}	1	23659	2026-11-29 20:30:11.099768+00	726c77d49928aaf1dfd7de355599f407	0	0	0	\N
18	0	committed	0	5	{"path": "/landing/ticks/2024-11-03-01:00-0500.parquet", "rows": 5, "origin": "/landing/ticks/2024-11-03-01:00-0500.parquet", "file_bytes": 950, "file_inode": 3670333, "origin_row": 0, "row_offset": 0, "file_digest": "ed26bed34eb631e45eac5a68221fb9b6", "rows_digest": "", "file_ctime_ns": 1795984201292122829, "file_mtime_ns": 1795984201292122829, "column_readers": {}}	5	0	{"at": ["5", "-3052409019"], "price": ["5", "827335495"]}	1	23553	2026-11-29 20:30:05.500856+00	ed26bed34eb631e45eac5a68221fb9b6	0	0	0	\N
19	2	pending	200	100	{"path": "/landing/events/2024-03-03.parquet", "rows": 100, "origin": "/landing/events/2024-03-03.parquet", "file_bytes": 10090, "file_inode": 3663143, "origin_row": 200, "row_offset": 200, "file_digest": "726c77d49928aaf1dfd7de355599f407", "rows_digest": "", "file_ctime_ns": 1795984205904123043, "file_mtime_ns": 1795984205904123043, "column_readers": {}}	0	0	\N	\N	\N	\N	726c77d49928aaf1dfd7de355599f407	0	0	0	\N
19	0	committed	0	100	{"path": "/landing/events/2024-03-03.parquet", "rows": 100, "origin": "/landing/events/2024-03-03.parquet", "file_bytes": 10090, "file_inode": 3663143, "origin_row": 0, "row_offset": 0, "file_digest": "726c77d49928aaf1dfd7de355599f407", "rows_digest": "", "file_ctime_ns": 1795984205904123043, "file_mtime_ns": 1795984205904123043, "column_readers": {}}	100	0	{"at": ["100", "3068786151"], "code": ["100", "4433908130"], "name": ["100", "1834548781"], "note": ["80", "-24465639428"], "amount": ["100", "5675980640"], "event_id": ["100", "4950"]}	1	23659	2026-11-29 20:30:10.880087+00	726c77d49928aaf1dfd7de355599f407	0	0	0	\N
\.
COPY rowledger.dead_letter (dead_letter_id, load_id, chunk_no, row_no, stage, reason, sqlstate, constraint_name, column_name, attempt, worker_pid, payload, recorded_at, part, source, source_row, payload_of, traceback, state, revision, replays, mended_payload) FROM stdin;
1	2	0	3	contract	event_id: Input should be greater than or equal to 0 [greater_than_equal]	\N	\N	event_id	1	22106	{"at": "2024-03-02 00:00:03.000000+00:00", "event_id": -1, "name": "event 3 of 2024-03-02, ünïcode", "amount": 1.0, "note": "note 3", "code": "C3"}	2026-11-29 20:29:04.738406+00	0	/landing/events/2024-03-02.parquet	3	source		open	0	0	\N
2	2	0	5	contract	name: is null, but the column is not nullable	\N	\N	name	1	22106	{"at": "2024-03-02 00:00:05.000000+00:00", "event_id": 5, "name": null, "amount": 1.6666666666666667, "note": null, "code": "C5"}	2026-11-29 20:29:04.738723+00	0	/landing/events/2024-03-02.parquet	5	source		mended	1	0	\N
3	1	0	3	contract	event_id: Input should be greater than or equal to 0 [greater_than_equal]	\N	\N	event_id	1	22106	{"at": "2024-03-01 00:00:03.000000+00:00", "event_id": -1, "name": "event 3 of 2024-03-01, ünïcode", "amount": 1.0, "note": "note 3", "code": "C3"}	2026-11-29 20:29:04.791683+00	0	/landing/events/2024-03-01.parquet	3	source		open	2	0	\N
4	1	0	5	contract	name: is null, but the column is not nullable	\N	\N	name	1	22106	{"at": "2024-03-01 00:00:05.000000+00:00", "event_id": 5, "name": null, "amount": 1.6666666666666667, "note": null, "code": "C5"}	2026-11-29 20:29:04.79174+00	0	/landing/events/2024-03-01.parquet	5	source		mended	1	0	{"at": "2024-03-01 00:00:05.000000+00:00", "event_id": 5, "name": "corrected, ünïcode", "amount": 1.6666666666666667, "note": null, "code": "C5"}
6	3	0	5	copy	refused by the server: check violation (SQLSTATE 23514), constraint no_sour_label	23514	no_sour_label	\N	1	22255	{"day": "2024-03-01", "parcel_id": 5, "label": "b (sour)"}	2026-11-29 20:29:09.844782+00	0	/landing/parcels/2024-03-01.parquet	5	source		open	0	0	\N
5	3	0	4	copy	refused by the server: check violation (SQLSTATE 23514), constraint no_sour_label	23514	no_sour_label	\N	1	22255	{"day": "2024-03-01", "parcel_id": 4, "label": "a (sour)"}	2026-11-29 20:29:09.844695+00	0	/landing/parcels/2024-03-01.parquet	4	source		replayed	1	1	\N
7	4	0	2	contract	sensor: is null, but the column is not nullable	\N	\N	sensor	1	22493	{"sensor": null, "value": 0.5}	2026-11-29 20:29:19.684901+00	0	/landing/readings/all.parquet	2	source		open	0	0	\N
\.
COPY rowledger.failed_attempt (attempt_id, table_name, target, partition_key, load_id, epoch, run_id, kind, reason, failed_at) FROM stdin;
1	events	public.events	2024-03-03	19	1	run-of-test	ChunkFailed	table events, partition 2024-03-03, chunk 2: failpoint; a rerun resumes at this chunk	2026-11-29 20:30:11.255064+00
\.
COPY rowledger.incident (incident_id, load_id, chunk_no, attempt, kind, pid, host, exit_code, summary, stderr_tail, run_id, detected_at) FROM stdin;
\.
COPY rowledger.lease (load_id, holder, holder_pid, holder_host, backend_pid, backend_start, renewals, lease_s) FROM stdin;
\.
COPY rowledger.letter_event (event_id, dead_letter_id, state, happened_at, actor, note, run_id, replay, written_rows, stage, reason, sqlstate, constraint_name, column_name, traceback) FROM stdin;
1	5	replayed	2026-11-29 20:29:14.643928+00	a test	mended	run-of-test	f70afdcb-9a94-4710-b65b-565ab8457d9a	1	\N	\N	\N	\N	\N	
2	4	mended	2026-11-29 20:29:15.1+00	a test	edited	run-of-test	\N	0	\N	\N	\N	\N	\N	
3	2	mended	2026-11-29 20:29:15.2+00	a test	ready as it is	run-of-test	\N	0	\N	\N	\N	\N	\N	
4	3	mended	2026-11-29 20:29:15.3+00	a test	ready as it is	run-of-test	\N	0	\N	\N	\N	\N	\N	
5	3	open	2026-11-29 20:29:15.4+00	a test	taken back	run-of-test	\N	0	\N	\N	\N	\N	\N	
\.
COPY rowledger.load (load_id, table_name, target, partition_key, epoch, state, manifest_digest, enqueued_rows, chunks, run_id, started_at, ended_at, verdict, contract_digest, sealed, write_mode, content_digest, base_load_id, found_rows, found_fingerprint, updated_rows, replaced_fingerprint, rowledger_version, entry_digest, chunks_digest) FROM stdin;
2	events	public.events	2024-03-02	1	published	424971418195989e0454e2a7b699887eed0d83535a4b4bb7ac9cd2c3e52c89e1	12	1	run-of-test	2026-11-29 20:29:01.28667+00	2026-11-29 20:29:05.038131+00	every check passed	28578262116c5d03da990c5e46d1d3ef0de4b63696abc54f152869ecefb550b6	t	replace	127419bf6652d2e15944a9085c48f7547b4778f0f43a934cb39a0a78c4a5eb36	\N	\N	\N	0	\N	0.2.0.dev20261129185817+g4f7b541f1	890d341c38255509814da6a5a429c01a0653fbd15642accad52b29470c25f5e2	5c67fc852740627c0a269c24167ade234703c4c371025083516a4633ef2e1ee5
1	events	public.events	2024-03-01	1	published	eb53fe95d7f7a340600e62b16baed507192e6a8a2a2006172fc76fcf57968489	12	1	run-of-test	2026-11-29 20:29:01.286174+00	2026-11-29 20:29:05.057409+00	every check passed	28578262116c5d03da990c5e46d1d3ef0de4b63696abc54f152869ecefb550b6	t	replace	a436dde5d7eb2adb1a98606f6be1a44d149c7fb0d14f15e338111ad3cdd5684d	\N	\N	\N	0	\N	0.2.0.dev20261129185817+g4f7b541f1	b9c0c3097b326c4402cf4456eed661e984f7231e5b65cb3242ed3f99840006b6	84a46900f4b7b30e88fa93653e57fae88932da1478d7edcc03518ecd7d521628
6	by_region	public.by_region	north	1	published	85eb8188e92a6e5890db26016a4ca36ccb482cf8d186bef632887692680906ee	12	1	run-of-test	2026-11-29 20:29:20.816342+00	2026-11-29 20:29:25.955818+00	every check passed	6b16079c93590b4d1cabfcf08c8ba7c93f5ea385b792fa79110986db63e1a440	t	replace	bb2eb0935d8a80e050e9c44ea33581b736d5e3f5c266ecc89dcf86e081f56a13	\N	\N	\N	0	\N	0.2.0.dev20261129185817+g4f7b541f1	dc4538cfbf5b0cdd8be3f2891bc28c4621fc2e35ee35cf389c2f3ab8b0189e7f	617f6026342b9c5545c05089c943b8c3aa73d6d3b3cf51a7e46e62b2aba91f18
4	readings	public.readings	all	1	published	a080d5beb5ceba95066e7855faf8399e6bcc8bf265f894b1386f8d7b71f70e23	12	1	run-of-test	2026-11-29 20:29:15.491286+00	2026-11-29 20:29:19.981687+00	every check passed	71450820ca5fccbfd2c105aaf6403eb46471321fe057a3e129b9b7e5fda79a60	t	replace	5542390faaddb53eb930b5ad93d0214a51da7dffb98d5f7271888b0be8cb57da	\N	\N	\N	0	\N	0.2.0.dev20261129185817+g4f7b541f1	93a38544d94fc74592c84474e365d5801c832a0e6158bbdacc233b713932abef	a1db2919942acbe9b30f810f5768a7dc408e3eb3cf55b65c6fc52534119f4b00
3	parcels	depot.parcels	2024-03-01	1	published	9b5b81074364746a9aeb918d0c895b07e89444ee019dfcd485ea631c5fe54247	12	1	run-of-test	2026-11-29 20:29:06.207914+00	2026-11-29 20:29:10.06097+00	every check passed	68c344ee900d713e0ad9c74267193671de3564fd15c77e5d95cf5b5a9f57d1d2	t	replace	92c6159621b0c7da2a3502bf1730a4b41c6c11148ad01f92f534a3b2f47f1d8c	\N	\N	\N	0	\N	0.2.0.dev20261129185817+g4f7b541f1	cbc474ea44e35f389b8ff382118bbdbdde5eb1f1d06072a04ee2a2c9f1372ec8	0051326407b69dd858593c1a25c79e969f7d1736fb438b841f437390efa214d9
8	by_day_and_region	public.by_day_and_region	2024-03-01|south	1	published	51fbd42ed2b36c3e81da689f1568d919bb37d48ff4de30cfea20e86af79b715b	12	1	run-of-test	2026-11-29 20:29:27.142331+00	2026-11-29 20:29:32.573323+00	every check passed	6b16079c93590b4d1cabfcf08c8ba7c93f5ea385b792fa79110986db63e1a440	t	replace	303a56175a4365b81d5a05533ccf2c02f77e6b44bd6dd4805d4f512cfc727ecb	\N	\N	\N	0	\N	0.2.0.dev20261129185817+g4f7b541f1	67a1abefdd5d809efd8c5268d81e4b2f3c83f19b54c9467a2612b87b7ed131dd	f329a73c5a3a6df5cf14ee6d6e966ffb8802c7f9b403ce68de08dca84d36d8a9
7	by_day_and_region	public.by_day_and_region	2024-03-01|north	1	published	85eb8188e92a6e5890db26016a4ca36ccb482cf8d186bef632887692680906ee	12	1	run-of-test	2026-11-29 20:29:27.140624+00	2026-11-29 20:29:32.597551+00	every check passed	6b16079c93590b4d1cabfcf08c8ba7c93f5ea385b792fa79110986db63e1a440	t	replace	bb2eb0935d8a80e050e9c44ea33581b736d5e3f5c266ecc89dcf86e081f56a13	\N	\N	\N	0	\N	0.2.0.dev20261129185817+g4f7b541f1	90327f4ac20cd913ceace85df4e48d102c29a6e96396abd256445590cf40c691	617f6026342b9c5545c05089c943b8c3aa73d6d3b3cf51a7e46e62b2aba91f18
5	by_region	public.by_region	south	1	published	51fbd42ed2b36c3e81da689f1568d919bb37d48ff4de30cfea20e86af79b715b	13	1	run-of-test	2026-11-29 20:29:20.806507+00	2026-11-29 20:29:25.903842+00	every check passed	6b16079c93590b4d1cabfcf08c8ba7c93f5ea385b792fa79110986db63e1a440	t	replace	303a56175a4365b81d5a05533ccf2c02f77e6b44bd6dd4805d4f512cfc727ecb	\N	\N	\N	0	\N	0.2.0.dev20261129185817+g4f7b541f1	74e218cc4b63ce5ecc6a0546b45a6632eba2874d1da0fa1fbe4afa33e9579159	f329a73c5a3a6df5cf14ee6d6e966ffb8802c7f9b403ce68de08dca84d36d8a9
10	appended	public.appended	2024-03-02	1	published	106cb290ddab4612b50c4fc7d67ba421d9b8e1feb16bc6d6be8ba21b06247f7d	12	1	run-of-test	2026-11-29 20:29:33.667816+00	2026-11-29 20:29:38.037326+00	every check passed	6b16079c93590b4d1cabfcf08c8ba7c93f5ea385b792fa79110986db63e1a440	t	append	1fcbfe69ea42a52b4a4bd057b01bd0eb6e64b7aa2886d88d47d789f1c0491319	10	0	{"day": ["0", "0"], "amount": ["0", "0"], "region": ["0", "0"], "sale_id": ["0", "0"]}	0	\N	0.2.0.dev20261129185817+g4f7b541f1	43d50761b82ad0bedc2f74785aa6d09ad4025cd0503ca41def562d6712e4d5ad	3aea15233695d241e0079324aecdfb971bd87fd8dfeb8c270a401c53ef0aa6c7
9	appended	public.appended	2024-03-01	1	published	e3668e93bdea1718233e18432b64fc52806a4213bfaa364c2941226927986c64	12	1	run-of-test	2026-11-29 20:29:33.552978+00	2026-11-29 20:29:38.080216+00	every check passed	6b16079c93590b4d1cabfcf08c8ba7c93f5ea385b792fa79110986db63e1a440	t	append	4f78cbabf29ca7d4e60f61c5fd6f2d19577d856edac643de5aaad6c0e1113c1b	9	0	{"day": ["0", "0"], "amount": ["0", "0"], "region": ["0", "0"], "sale_id": ["0", "0"]}	0	\N	0.2.0.dev20261129185817+g4f7b541f1	01be673b260a18e8b55d882472396341daaa5927858177ebf0b4853597312972	ae1311e42f600bd20163fca118ab158750fb5ce4b875127808c030083defd6ab
11	upserted	public.upserted	2024-03-02	1	published	106cb290ddab4612b50c4fc7d67ba421d9b8e1feb16bc6d6be8ba21b06247f7d	12	1	run-of-test	2026-11-29 20:29:38.875746+00	2026-11-29 20:29:42.253579+00	every check passed	6b16079c93590b4d1cabfcf08c8ba7c93f5ea385b792fa79110986db63e1a440	t	upsert	1fcbfe69ea42a52b4a4bd057b01bd0eb6e64b7aa2886d88d47d789f1c0491319	11	0	{"day": ["0", "0"], "amount": ["0", "0"], "region": ["0", "0"], "sale_id": ["0", "0"]}	0	\N	0.2.0.dev20261129185817+g4f7b541f1	2f40ffa6faf2133952f9156770758c9edb2dcbc9280ac1db5a6033aec6c579fb	3aea15233695d241e0079324aecdfb971bd87fd8dfeb8c270a401c53ef0aa6c7
12	upserted	public.upserted	2024-03-01	1	published	e3668e93bdea1718233e18432b64fc52806a4213bfaa364c2941226927986c64	12	1	run-of-test	2026-11-29 20:29:38.879483+00	2026-11-29 20:29:42.380574+00	every check passed	6b16079c93590b4d1cabfcf08c8ba7c93f5ea385b792fa79110986db63e1a440	t	upsert	4f78cbabf29ca7d4e60f61c5fd6f2d19577d856edac643de5aaad6c0e1113c1b	12	0	{"day": ["0", "0"], "amount": ["0", "0"], "region": ["0", "0"], "sale_id": ["0", "0"]}	0	\N	0.2.0.dev20261129185817+g4f7b541f1	51deb1cdf51aeffb8cea1c716531a5baabdb58ce97b4f3b5870ba54bd4b8a8a6	ae1311e42f600bd20163fca118ab158750fb5ce4b875127808c030083defd6ab
13	moving	public.moving	2024-03-01	1	published	e3668e93bdea1718233e18432b64fc52806a4213bfaa364c2941226927986c64	12	1	run-of-test	2026-11-29 20:29:43.331883+00	2026-11-29 20:29:46.839931+00	every check passed	aadedda7dfd3803d9db9bc53aac4bd8e277aacbddec5e5fe0b07e800f2437e24	t	upsert	4f78cbabf29ca7d4e60f61c5fd6f2d19577d856edac643de5aaad6c0e1113c1b	13	0	{"day": ["0", "0"], "amount": ["0", "0"], "region": ["0", "0"], "sale_id": ["0", "0"]}	0	{"day": ["0", "0"], "amount": ["0", "0"], "region": ["0", "0"], "sale_id": ["0", "0"]}	0.2.0.dev20261129185817+g4f7b541f1	c3a5629a20c3e134434b8d03eb46676973eb910bbc99f50c22947d17896f183a	ae1311e42f600bd20163fca118ab158750fb5ce4b875127808c030083defd6ab
14	appended	public.appended	2024-03-01	1	published	09b2f0189585cccf80b3705030e309084edf6f25a2b9add153b7722742539462	5	1	run-of-test	2026-11-29 20:29:47.935822+00	2026-11-29 20:29:52.137636+00	every check passed	6b16079c93590b4d1cabfcf08c8ba7c93f5ea385b792fa79110986db63e1a440	t	append	6aa9ab7cdae074bd99148080457bfb3c1a38919f516bd19ba8250572d433eceb	9	\N	\N	0	\N	0.2.0.dev20261129185817+g4f7b541f1	cc5662ceec897f6c460b9c1fa7872294a9d6a7bde283068cfcbb844a992b3db6	fcb36c32ffde4c68a5147ccf12ce360769a48f44ba1502f0864202f7c09162ab
15	upserted	public.upserted	2024-03-01	1	published	09b2f0189585cccf80b3705030e309084edf6f25a2b9add153b7722742539462	5	1	run-of-test	2026-11-29 20:29:53.128695+00	2026-11-29 20:29:56.439684+00	every check passed	6b16079c93590b4d1cabfcf08c8ba7c93f5ea385b792fa79110986db63e1a440	t	upsert	6aa9ab7cdae074bd99148080457bfb3c1a38919f516bd19ba8250572d433eceb	12	\N	\N	0	{"day": ["0", "0"], "amount": ["0", "0"], "region": ["0", "0"], "sale_id": ["0", "0"]}	0.2.0.dev20261129185817+g4f7b541f1	12ec6c042d8f2d8d1f75d23e3abe437027d0a929f5638322e8fbcaff9c6ad61e	fcb36c32ffde4c68a5147ccf12ce360769a48f44ba1502f0864202f7c09162ab
16	paths	public.paths	b	1	published	94408b80c3d7995cd79a64097dcf235bdb6b23c3c4f7ab14175b9090a449fdc6	12	1	run-of-test	2026-11-29 20:29:57.263761+00	2026-11-29 20:30:00.860063+00	every check passed	015347b5f0a14e5a6f5f0642dfb9482f2bf665b193beecafb4e08869297962b1	t	append	70add921e273aa66213a3bc55d787338f0930698c9622628f62a5a6506ca02fc	16	0	{"day": ["0", "0"], "amount": ["0", "0"], "region": ["0", "0"], "sale_id": ["0", "0"]}	0	\N	0.2.0.dev20261129185817+g4f7b541f1	d755a74d0a26cff726f880dd328ee2b489e9214f3acab2a432830e2f265510a1	fd8909efce95768db7da0a4db1173b21fc4f81359746fe4b8b22d4862c096d55
17	paths	public.paths	a	1	published	8b519f3e1707027eb9ff3486b9e6af742d4a7db0cb45cd2be0971109da1de0b6	12	1	run-of-test	2026-11-29 20:29:57.311748+00	2026-11-29 20:30:00.928171+00	every check passed	015347b5f0a14e5a6f5f0642dfb9482f2bf665b193beecafb4e08869297962b1	t	append	f63b52e0527a590a87646ce39160cc4d9b7a4c509485eab5e9f55d12c6766122	16	\N	\N	0	\N	0.2.0.dev20261129185817+g4f7b541f1	677d9bd3075149fe4a1a9c360bed5260b61e167796f00cc22c830c4c67b1e1df	ecfeab684a8210e4abae6229acd288c1740f95dc374972890b75a87665ca55f7
18	ticks	public.ticks	2024-11-03-01:00-0500	1	published	ea018dbae22e3dbca1f3bb8d00966cb349a82dcdff5e03f863402ea2d29de037	5	1	run-of-test	2026-11-29 20:30:02.027837+00	2026-11-29 20:30:05.677519+00	every check passed	8d5e3ed79a7c756f4f80fb42f4a99cd730e305300a1846678dd5ee45f39a9e09	t	replace	e1893814e4c328c2fc72bf406886a9880d070de01beded4640d39eb8aef34db5	\N	\N	\N	0	\N	0.2.0.dev20261129185817+g4f7b541f1	488c04c32df35f7f46033b81ab06e9ccc0e698324de206172247cabe1347ec82	52e602da0e032ac0916d31d75463c3ba758a7c563eff09d14a320692a925342d
19	events	public.events	2024-03-03	1	loading	785049ac5f8168791b6ed1ac007401887274914a090320f607cdd5b722539caf	300	3	run-of-test	2026-11-29 20:30:06.448852+00	\N	\N	28578262116c5d03da990c5e46d1d3ef0de4b63696abc54f152869ecefb550b6	t	replace		\N	\N	\N	0	\N	0.2.0.dev20261129185817+g4f7b541f1	\N	\N
\.
COPY rowledger.schema_version (version, name, applied_at, checksum, rowledger_version) FROM stdin;
1	ledger	2026-11-29 20:28:59.587572+00	006ec7af1338a36f0b0ea561a5fa91c0e247088425eb75e9ed0273d65e12fecb	0.2.0.dev20261129185817+g4f7b541f1
2	guards	2026-11-29 20:28:59.587572+00	5e2fbaadcd6f677f5fa27801325b32e076344e834a44e976201eadb5dee16197	0.2.0.dev20261129185817+g4f7b541f1
3	any_source	2026-11-29 20:28:59.587572+00	deca71cc9f78cbc5ff37aa47f955f44f64501275789c6148a3bea71403977e04	0.2.0.dev20261129185817+g4f7b541f1
4	write_modes	2026-11-29 20:28:59.587572+00	2cc4c767a75af43601bbb1599b4322862b1f1586f6a7896333f6809efc18df2d	0.2.0.dev20261129185817+g4f7b541f1
5	dead_letters	2026-11-29 20:28:59.587572+00	88a2a85c66739cd6bb7893e4120c7b689b4625e3269fe0e81e2c045ca7ce5905	0.2.0.dev20261129185817+g4f7b541f1
6	entries_as_written	2026-11-29 20:28:59.587572+00	7f5ea96ee4018987d3448f55f0667a639911d92a8fb0a7006c15fee112c4d322	0.2.0.dev20261129185817+g4f7b541f1
7	failed_attempts	2026-11-29 20:28:59.587572+00	42b3e50fff20c6600422759fbdee150a99fd2bbc79a43025de8eb45136771963	0.2.0.dev20261129185817+g4f7b541f1
\.
COPY rowledger.staging_19 (at, event_id, name, amount, note, code) FROM stdin;
2024-03-03 00:00:00+00	0	event 0 of 2024-03-03, ünïcode	0	\N	C0
2024-03-03 00:00:01+00	1	event 1 of 2024-03-03, ünïcode	0.3333333333333333	note 1	C1
2024-03-03 00:00:02+00	2	event 2 of 2024-03-03, ünïcode	0.6666666666666666	note 2	C2
2024-03-03 00:00:03+00	3	event 3 of 2024-03-03, ünïcode	1	note 3	C3
2024-03-03 00:00:04+00	4	event 4 of 2024-03-03, ünïcode	1.3333333333333333	note 4	C4
2024-03-03 00:00:05+00	5	event 5 of 2024-03-03, ünïcode	1.6666666666666667	\N	C5
2024-03-03 00:00:06+00	6	event 6 of 2024-03-03, ünïcode	2	note 6	C6
2024-03-03 00:00:07+00	7	event 7 of 2024-03-03, ünïcode	2.3333333333333335	note 7	C7
2024-03-03 00:00:08+00	8	event 8 of 2024-03-03, ünïcode	2.6666666666666665	note 8	C8
2024-03-03 00:00:09+00	9	event 9 of 2024-03-03, ünïcode	3	note 9	C9
2024-03-03 00:00:10+00	10	event 10 of 2024-03-03, ünïcode	3.3333333333333335	\N	C10
2024-03-03 00:00:11+00	11	event 11 of 2024-03-03, ünïcode	3.6666666666666665	note 11	C11
2024-03-03 00:00:12+00	12	event 12 of 2024-03-03, ünïcode	4	note 12	C12
2024-03-03 00:00:13+00	13	event 13 of 2024-03-03, ünïcode	4.333333333333333	note 13	C13
2024-03-03 00:00:14+00	14	event 14 of 2024-03-03, ünïcode	4.666666666666667	note 14	C14
2024-03-03 00:00:15+00	15	event 15 of 2024-03-03, ünïcode	5	\N	C15
2024-03-03 00:00:16+00	16	event 16 of 2024-03-03, ünïcode	5.333333333333333	note 16	C16
2024-03-03 00:00:17+00	17	event 17 of 2024-03-03, ünïcode	5.666666666666667	note 0	C17
2024-03-03 00:00:18+00	18	event 18 of 2024-03-03, ünïcode	6	note 1	C18
2024-03-03 00:00:19+00	19	event 19 of 2024-03-03, ünïcode	6.333333333333333	note 2	C19
2024-03-03 00:00:20+00	20	event 20 of 2024-03-03, ünïcode	6.666666666666667	\N	C20
2024-03-03 00:00:21+00	21	event 21 of 2024-03-03, ünïcode	7	note 4	C21
2024-03-03 00:00:22+00	22	event 22 of 2024-03-03, ünïcode	7.333333333333333	note 5	C22
2024-03-03 00:00:23+00	23	event 23 of 2024-03-03, ünïcode	7.666666666666667	note 6	C23
2024-03-03 00:00:24+00	24	event 24 of 2024-03-03, ünïcode	8	note 7	C24
2024-03-03 00:00:25+00	25	event 25 of 2024-03-03, ünïcode	8.333333333333334	\N	C25
2024-03-03 00:00:26+00	26	event 26 of 2024-03-03, ünïcode	8.666666666666666	note 9	C26
2024-03-03 00:00:27+00	27	event 27 of 2024-03-03, ünïcode	9	note 10	C27
2024-03-03 00:00:28+00	28	event 28 of 2024-03-03, ünïcode	9.333333333333334	note 11	C28
2024-03-03 00:00:29+00	29	event 29 of 2024-03-03, ünïcode	9.666666666666666	note 12	C29
2024-03-03 00:00:30+00	30	event 30 of 2024-03-03, ünïcode	10	\N	C30
2024-03-03 00:00:31+00	31	event 31 of 2024-03-03, ünïcode	10.333333333333334	note 14	C31
2024-03-03 00:00:32+00	32	event 32 of 2024-03-03, ünïcode	10.666666666666666	note 15	C32
2024-03-03 00:00:33+00	33	event 33 of 2024-03-03, ünïcode	11	note 16	C33
2024-03-03 00:00:34+00	34	event 34 of 2024-03-03, ünïcode	11.333333333333334	note 0	C34
2024-03-03 00:00:35+00	35	event 35 of 2024-03-03, ünïcode	11.666666666666666	\N	C35
2024-03-03 00:00:36+00	36	event 36 of 2024-03-03, ünïcode	12	note 2	C36
2024-03-03 00:00:37+00	37	event 37 of 2024-03-03, ünïcode	12.333333333333334	note 3	C37
2024-03-03 00:00:38+00	38	event 38 of 2024-03-03, ünïcode	12.666666666666666	note 4	C38
2024-03-03 00:00:39+00	39	event 39 of 2024-03-03, ünïcode	13	note 5	C39
2024-03-03 00:00:40+00	40	event 40 of 2024-03-03, ünïcode	13.333333333333334	\N	C40
2024-03-03 00:00:41+00	41	event 41 of 2024-03-03, ünïcode	13.666666666666666	note 7	C41
2024-03-03 00:00:42+00	42	event 42 of 2024-03-03, ünïcode	14	note 8	C42
2024-03-03 00:00:43+00	43	event 43 of 2024-03-03, ünïcode	14.333333333333334	note 9	C43
2024-03-03 00:00:44+00	44	event 44 of 2024-03-03, ünïcode	14.666666666666666	note 10	C44
2024-03-03 00:00:45+00	45	event 45 of 2024-03-03, ünïcode	15	\N	C45
2024-03-03 00:00:46+00	46	event 46 of 2024-03-03, ünïcode	15.333333333333334	note 12	C46
2024-03-03 00:00:47+00	47	event 47 of 2024-03-03, ünïcode	15.666666666666666	note 13	C47
2024-03-03 00:00:48+00	48	event 48 of 2024-03-03, ünïcode	16	note 14	C48
2024-03-03 00:00:49+00	49	event 49 of 2024-03-03, ünïcode	16.333333333333332	note 15	C49
2024-03-03 00:00:50+00	50	event 50 of 2024-03-03, ünïcode	16.666666666666668	\N	C50
2024-03-03 00:00:51+00	51	event 51 of 2024-03-03, ünïcode	17	note 0	C51
2024-03-03 00:00:52+00	52	event 52 of 2024-03-03, ünïcode	17.333333333333332	note 1	C52
2024-03-03 00:00:53+00	53	event 53 of 2024-03-03, ünïcode	17.666666666666668	note 2	C53
2024-03-03 00:00:54+00	54	event 54 of 2024-03-03, ünïcode	18	note 3	C54
2024-03-03 00:00:55+00	55	event 55 of 2024-03-03, ünïcode	18.333333333333332	\N	C55
2024-03-03 00:00:56+00	56	event 56 of 2024-03-03, ünïcode	18.666666666666668	note 5	C56
2024-03-03 00:00:57+00	57	event 57 of 2024-03-03, ünïcode	19	note 6	C57
2024-03-03 00:00:58+00	58	event 58 of 2024-03-03, ünïcode	19.333333333333332	note 7	C58
2024-03-03 00:00:59+00	59	event 59 of 2024-03-03, ünïcode	19.666666666666668	note 8	C59
2024-03-03 00:01:00+00	60	event 60 of 2024-03-03, ünïcode	20	\N	C60
2024-03-03 00:01:01+00	61	event 61 of 2024-03-03, ünïcode	20.333333333333332	note 10	C61
2024-03-03 00:01:02+00	62	event 62 of 2024-03-03, ünïcode	20.666666666666668	note 11	C62
2024-03-03 00:01:03+00	63	event 63 of 2024-03-03, ünïcode	21	note 12	C63
2024-03-03 00:01:04+00	64	event 64 of 2024-03-03, ünïcode	21.333333333333332	note 13	C64
2024-03-03 00:01:05+00	65	event 65 of 2024-03-03, ünïcode	21.666666666666668	\N	C65
2024-03-03 00:01:06+00	66	event 66 of 2024-03-03, ünïcode	22	note 15	C66
2024-03-03 00:01:07+00	67	event 67 of 2024-03-03, ünïcode	22.333333333333332	note 16	C67
2024-03-03 00:01:08+00	68	event 68 of 2024-03-03, ünïcode	22.666666666666668	note 0	C68
2024-03-03 00:01:09+00	69	event 69 of 2024-03-03, ünïcode	23	note 1	C69
2024-03-03 00:01:10+00	70	event 70 of 2024-03-03, ünïcode	23.333333333333332	\N	C70
2024-03-03 00:01:11+00	71	event 71 of 2024-03-03, ünïcode	23.666666666666668	note 3	C71
2024-03-03 00:01:12+00	72	event 72 of 2024-03-03, ünïcode	24	note 4	C72
2024-03-03 00:01:13+00	73	event 73 of 2024-03-03, ünïcode	24.333333333333332	note 5	C73
2024-03-03 00:01:14+00	74	event 74 of 2024-03-03, ünïcode	24.666666666666668	note 6	C74
2024-03-03 00:01:15+00	75	event 75 of 2024-03-03, ünïcode	25	\N	C75
2024-03-03 00:01:16+00	76	event 76 of 2024-03-03, ünïcode	25.333333333333332	note 8	C76
2024-03-03 00:01:17+00	77	event 77 of 2024-03-03, ünïcode	25.666666666666668	note 9	C77
2024-03-03 00:01:18+00	78	event 78 of 2024-03-03, ünïcode	26	note 10	C78
2024-03-03 00:01:19+00	79	event 79 of 2024-03-03, ünïcode	26.333333333333332	note 11	C79
2024-03-03 00:01:20+00	80	event 80 of 2024-03-03, ünïcode	26.666666666666668	\N	C80
2024-03-03 00:01:21+00	81	event 81 of 2024-03-03, ünïcode	27	note 13	C81
2024-03-03 00:01:22+00	82	event 82 of 2024-03-03, ünïcode	27.333333333333332	note 14	C82
2024-03-03 00:01:23+00	83	event 83 of 2024-03-03, ünïcode	27.666666666666668	note 15	C83
2024-03-03 00:01:24+00	84	event 84 of 2024-03-03, ünïcode	28	note 16	C84
2024-03-03 00:01:25+00	85	event 85 of 2024-03-03, ünïcode	28.333333333333332	\N	C85
2024-03-03 00:01:26+00	86	event 86 of 2024-03-03, ünïcode	28.666666666666668	note 1	C86
2024-03-03 00:01:27+00	87	event 87 of 2024-03-03, ünïcode	29	note 2	C87
2024-03-03 00:01:28+00	88	event 88 of 2024-03-03, ünïcode	29.333333333333332	note 3	C88
2024-03-03 00:01:29+00	89	event 89 of 2024-03-03, ünïcode	29.666666666666668	note 4	C89
2024-03-03 00:01:30+00	90	event 90 of 2024-03-03, ünïcode	30	\N	C90
2024-03-03 00:01:31+00	91	event 91 of 2024-03-03, ünïcode	30.333333333333332	note 6	C91
2024-03-03 00:01:32+00	92	event 92 of 2024-03-03, ünïcode	30.666666666666668	note 7	C92
2024-03-03 00:01:33+00	93	event 93 of 2024-03-03, ünïcode	31	note 8	C93
2024-03-03 00:01:34+00	94	event 94 of 2024-03-03, ünïcode	31.333333333333332	note 9	C94
2024-03-03 00:01:35+00	95	event 95 of 2024-03-03, ünïcode	31.666666666666668	\N	C95
2024-03-03 00:01:36+00	96	event 96 of 2024-03-03, ünïcode	32	note 11	C96
2024-03-03 00:01:37+00	97	event 97 of 2024-03-03, ünïcode	32.333333333333336	note 12	C97
2024-03-03 00:01:38+00	98	event 98 of 2024-03-03, ünïcode	32.666666666666664	note 13	C98
2024-03-03 00:01:39+00	99	event 99 of 2024-03-03, ünïcode	33	note 14	C99
2024-03-03 00:01:40+00	100	event 100 of 2024-03-03, ünïcode	33.333333333333336	\N	C100
2024-03-03 00:01:41+00	101	event 101 of 2024-03-03, ünïcode	33.666666666666664	note 16	C101
2024-03-03 00:01:42+00	102	event 102 of 2024-03-03, ünïcode	34	note 0	C102
2024-03-03 00:01:43+00	103	event 103 of 2024-03-03, ünïcode	34.333333333333336	note 1	C103
2024-03-03 00:01:44+00	104	event 104 of 2024-03-03, ünïcode	34.666666666666664	note 2	C104
2024-03-03 00:01:45+00	105	event 105 of 2024-03-03, ünïcode	35	\N	C105
2024-03-03 00:01:46+00	106	event 106 of 2024-03-03, ünïcode	35.333333333333336	note 4	C106
2024-03-03 00:01:47+00	107	event 107 of 2024-03-03, ünïcode	35.666666666666664	note 5	C107
2024-03-03 00:01:48+00	108	event 108 of 2024-03-03, ünïcode	36	note 6	C108
2024-03-03 00:01:49+00	109	event 109 of 2024-03-03, ünïcode	36.333333333333336	note 7	C109
2024-03-03 00:01:50+00	110	event 110 of 2024-03-03, ünïcode	36.666666666666664	\N	C110
2024-03-03 00:01:51+00	111	event 111 of 2024-03-03, ünïcode	37	note 9	C111
2024-03-03 00:01:52+00	112	event 112 of 2024-03-03, ünïcode	37.333333333333336	note 10	C112
2024-03-03 00:01:53+00	113	event 113 of 2024-03-03, ünïcode	37.666666666666664	note 11	C113
2024-03-03 00:01:54+00	114	event 114 of 2024-03-03, ünïcode	38	note 12	C114
2024-03-03 00:01:55+00	115	event 115 of 2024-03-03, ünïcode	38.333333333333336	\N	C115
2024-03-03 00:01:56+00	116	event 116 of 2024-03-03, ünïcode	38.666666666666664	note 14	C116
2024-03-03 00:01:57+00	117	event 117 of 2024-03-03, ünïcode	39	note 15	C117
2024-03-03 00:01:58+00	118	event 118 of 2024-03-03, ünïcode	39.333333333333336	note 16	C118
2024-03-03 00:01:59+00	119	event 119 of 2024-03-03, ünïcode	39.666666666666664	note 0	C119
2024-03-03 00:02:00+00	120	event 120 of 2024-03-03, ünïcode	40	\N	C120
2024-03-03 00:02:01+00	121	event 121 of 2024-03-03, ünïcode	40.333333333333336	note 2	C121
2024-03-03 00:02:02+00	122	event 122 of 2024-03-03, ünïcode	40.666666666666664	note 3	C122
2024-03-03 00:02:03+00	123	event 123 of 2024-03-03, ünïcode	41	note 4	C123
2024-03-03 00:02:04+00	124	event 124 of 2024-03-03, ünïcode	41.333333333333336	note 5	C124
2024-03-03 00:02:05+00	125	event 125 of 2024-03-03, ünïcode	41.666666666666664	\N	C125
2024-03-03 00:02:06+00	126	event 126 of 2024-03-03, ünïcode	42	note 7	C126
2024-03-03 00:02:07+00	127	event 127 of 2024-03-03, ünïcode	42.333333333333336	note 8	C127
2024-03-03 00:02:08+00	128	event 128 of 2024-03-03, ünïcode	42.666666666666664	note 9	C128
2024-03-03 00:02:09+00	129	event 129 of 2024-03-03, ünïcode	43	note 10	C129
2024-03-03 00:02:10+00	130	event 130 of 2024-03-03, ünïcode	43.333333333333336	\N	C130
2024-03-03 00:02:11+00	131	event 131 of 2024-03-03, ünïcode	43.666666666666664	note 12	C131
2024-03-03 00:02:12+00	132	event 132 of 2024-03-03, ünïcode	44	note 13	C132
2024-03-03 00:02:13+00	133	event 133 of 2024-03-03, ünïcode	44.333333333333336	note 14	C133
2024-03-03 00:02:14+00	134	event 134 of 2024-03-03, ünïcode	44.666666666666664	note 15	C134
2024-03-03 00:02:15+00	135	event 135 of 2024-03-03, ünïcode	45	\N	C135
2024-03-03 00:02:16+00	136	event 136 of 2024-03-03, ünïcode	45.333333333333336	note 0	C136
2024-03-03 00:02:17+00	137	event 137 of 2024-03-03, ünïcode	45.666666666666664	note 1	C137
2024-03-03 00:02:18+00	138	event 138 of 2024-03-03, ünïcode	46	note 2	C138
2024-03-03 00:02:19+00	139	event 139 of 2024-03-03, ünïcode	46.333333333333336	note 3	C139
2024-03-03 00:02:20+00	140	event 140 of 2024-03-03, ünïcode	46.666666666666664	\N	C140
2024-03-03 00:02:21+00	141	event 141 of 2024-03-03, ünïcode	47	note 5	C141
2024-03-03 00:02:22+00	142	event 142 of 2024-03-03, ünïcode	47.333333333333336	note 6	C142
2024-03-03 00:02:23+00	143	event 143 of 2024-03-03, ünïcode	47.666666666666664	note 7	C143
2024-03-03 00:02:24+00	144	event 144 of 2024-03-03, ünïcode	48	note 8	C144
2024-03-03 00:02:25+00	145	event 145 of 2024-03-03, ünïcode	48.333333333333336	\N	C145
2024-03-03 00:02:26+00	146	event 146 of 2024-03-03, ünïcode	48.666666666666664	note 10	C146
2024-03-03 00:02:27+00	147	event 147 of 2024-03-03, ünïcode	49	note 11	C147
2024-03-03 00:02:28+00	148	event 148 of 2024-03-03, ünïcode	49.333333333333336	note 12	C148
2024-03-03 00:02:29+00	149	event 149 of 2024-03-03, ünïcode	49.666666666666664	note 13	C149
2024-03-03 00:02:30+00	150	event 150 of 2024-03-03, ünïcode	50	\N	C150
2024-03-03 00:02:31+00	151	event 151 of 2024-03-03, ünïcode	50.333333333333336	note 15	C151
2024-03-03 00:02:32+00	152	event 152 of 2024-03-03, ünïcode	50.666666666666664	note 16	C152
2024-03-03 00:02:33+00	153	event 153 of 2024-03-03, ünïcode	51	note 0	C153
2024-03-03 00:02:34+00	154	event 154 of 2024-03-03, ünïcode	51.333333333333336	note 1	C154
2024-03-03 00:02:35+00	155	event 155 of 2024-03-03, ünïcode	51.666666666666664	\N	C155
2024-03-03 00:02:36+00	156	event 156 of 2024-03-03, ünïcode	52	note 3	C156
2024-03-03 00:02:37+00	157	event 157 of 2024-03-03, ünïcode	52.333333333333336	note 4	C157
2024-03-03 00:02:38+00	158	event 158 of 2024-03-03, ünïcode	52.666666666666664	note 5	C158
2024-03-03 00:02:39+00	159	event 159 of 2024-03-03, ünïcode	53	note 6	C159
2024-03-03 00:02:40+00	160	event 160 of 2024-03-03, ünïcode	53.333333333333336	\N	C160
2024-03-03 00:02:41+00	161	event 161 of 2024-03-03, ünïcode	53.666666666666664	note 8	C161
2024-03-03 00:02:42+00	162	event 162 of 2024-03-03, ünïcode	54	note 9	C162
2024-03-03 00:02:43+00	163	event 163 of 2024-03-03, ünïcode	54.333333333333336	note 10	C163
2024-03-03 00:02:44+00	164	event 164 of 2024-03-03, ünïcode	54.666666666666664	note 11	C164
2024-03-03 00:02:45+00	165	event 165 of 2024-03-03, ünïcode	55	\N	C165
2024-03-03 00:02:46+00	166	event 166 of 2024-03-03, ünïcode	55.333333333333336	note 13	C166
2024-03-03 00:02:47+00	167	event 167 of 2024-03-03, ünïcode	55.666666666666664	note 14	C167
2024-03-03 00:02:48+00	168	event 168 of 2024-03-03, ünïcode	56	note 15	C168
2024-03-03 00:02:49+00	169	event 169 of 2024-03-03, ünïcode	56.333333333333336	note 16	C169
2024-03-03 00:02:50+00	170	event 170 of 2024-03-03, ünïcode	56.666666666666664	\N	C170
2024-03-03 00:02:51+00	171	event 171 of 2024-03-03, ünïcode	57	note 1	C171
2024-03-03 00:02:52+00	172	event 172 of 2024-03-03, ünïcode	57.333333333333336	note 2	C172
2024-03-03 00:02:53+00	173	event 173 of 2024-03-03, ünïcode	57.666666666666664	note 3	C173
2024-03-03 00:02:54+00	174	event 174 of 2024-03-03, ünïcode	58	note 4	C174
2024-03-03 00:02:55+00	175	event 175 of 2024-03-03, ünïcode	58.333333333333336	\N	C175
2024-03-03 00:02:56+00	176	event 176 of 2024-03-03, ünïcode	58.666666666666664	note 6	C176
2024-03-03 00:02:57+00	177	event 177 of 2024-03-03, ünïcode	59	note 7	C177
2024-03-03 00:02:58+00	178	event 178 of 2024-03-03, ünïcode	59.333333333333336	note 8	C178
2024-03-03 00:02:59+00	179	event 179 of 2024-03-03, ünïcode	59.666666666666664	note 9	C179
2024-03-03 00:03:00+00	180	event 180 of 2024-03-03, ünïcode	60	\N	C180
2024-03-03 00:03:01+00	181	event 181 of 2024-03-03, ünïcode	60.333333333333336	note 11	C181
2024-03-03 00:03:02+00	182	event 182 of 2024-03-03, ünïcode	60.666666666666664	note 12	C182
2024-03-03 00:03:03+00	183	event 183 of 2024-03-03, ünïcode	61	note 13	C183
2024-03-03 00:03:04+00	184	event 184 of 2024-03-03, ünïcode	61.333333333333336	note 14	C184
2024-03-03 00:03:05+00	185	event 185 of 2024-03-03, ünïcode	61.666666666666664	\N	C185
2024-03-03 00:03:06+00	186	event 186 of 2024-03-03, ünïcode	62	note 16	C186
2024-03-03 00:03:07+00	187	event 187 of 2024-03-03, ünïcode	62.333333333333336	note 0	C187
2024-03-03 00:03:08+00	188	event 188 of 2024-03-03, ünïcode	62.666666666666664	note 1	C188
2024-03-03 00:03:09+00	189	event 189 of 2024-03-03, ünïcode	63	note 2	C189
2024-03-03 00:03:10+00	190	event 190 of 2024-03-03, ünïcode	63.333333333333336	\N	C190
2024-03-03 00:03:11+00	191	event 191 of 2024-03-03, ünïcode	63.666666666666664	note 4	C191
2024-03-03 00:03:12+00	192	event 192 of 2024-03-03, ünïcode	64	note 5	C192
2024-03-03 00:03:13+00	193	event 193 of 2024-03-03, ünïcode	64.33333333333333	note 6	C193
2024-03-03 00:03:14+00	194	event 194 of 2024-03-03, ünïcode	64.66666666666667	note 7	C194
2024-03-03 00:03:15+00	195	event 195 of 2024-03-03, ünïcode	65	\N	C195
2024-03-03 00:03:16+00	196	event 196 of 2024-03-03, ünïcode	65.33333333333333	note 9	C196
2024-03-03 00:03:17+00	197	event 197 of 2024-03-03, ünïcode	65.66666666666667	note 10	C197
2024-03-03 00:03:18+00	198	event 198 of 2024-03-03, ünïcode	66	note 11	C198
2024-03-03 00:03:19+00	199	event 199 of 2024-03-03, ünïcode	66.33333333333333	note 12	C199
\.
SELECT pg_catalog.setval('rowledger.dead_letter_dead_letter_id_seq', 7, true);
SELECT pg_catalog.setval('rowledger.failed_attempt_attempt_id_seq', 1, true);
SELECT pg_catalog.setval('rowledger.incident_incident_id_seq', 1, false);
SELECT pg_catalog.setval('rowledger.letter_event_event_id_seq', 5, true);
SELECT pg_catalog.setval('rowledger.load_load_id_seq', 19, true);
ALTER TABLE ONLY public.appended
    ADD CONSTRAINT appended_pkey PRIMARY KEY (day, region, sale_id);
ALTER TABLE ONLY public.by_day_and_region
    ADD CONSTRAINT by_day_and_region_pkey PRIMARY KEY (day, region, sale_id);
ALTER TABLE ONLY public.by_region
    ADD CONSTRAINT by_region_pkey PRIMARY KEY (day, region, sale_id);
ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_pkey PRIMARY KEY (at, event_id);
ALTER TABLE ONLY public.moving
    ADD CONSTRAINT moving_pkey PRIMARY KEY (sale_id);
ALTER TABLE ONLY public.appended_2024_03_02
    ADD CONSTRAINT staging_10_pkey PRIMARY KEY (day, region, sale_id);
ALTER TABLE ONLY public.upserted
    ADD CONSTRAINT upserted_pkey PRIMARY KEY (day, region, sale_id);
ALTER TABLE ONLY public.upserted_2024_03_02
    ADD CONSTRAINT staging_11_pkey PRIMARY KEY (day, region, sale_id);
ALTER TABLE ONLY public.upserted_2024_03_01
    ADD CONSTRAINT staging_12_pkey PRIMARY KEY (day, region, sale_id);
ALTER TABLE ONLY public.events_2024_03_01
    ADD CONSTRAINT staging_1_pkey PRIMARY KEY (at, event_id);
ALTER TABLE ONLY public.events_2024_03_02
    ADD CONSTRAINT staging_2_pkey PRIMARY KEY (at, event_id);
ALTER TABLE ONLY public.by_region_south
    ADD CONSTRAINT staging_5_pkey PRIMARY KEY (day, region, sale_id);
ALTER TABLE ONLY public.by_region_north
    ADD CONSTRAINT staging_6_pkey PRIMARY KEY (day, region, sale_id);
ALTER TABLE ONLY public.appended_2024_03_01
    ADD CONSTRAINT staging_9_pkey PRIMARY KEY (day, region, sale_id);
ALTER TABLE ONLY rowledger.chunk
    ADD CONSTRAINT chunk_pkey PRIMARY KEY (load_id, chunk_no);
ALTER TABLE ONLY rowledger.dead_letter
    ADD CONSTRAINT dead_letter_pkey PRIMARY KEY (dead_letter_id);
ALTER TABLE ONLY rowledger.failed_attempt
    ADD CONSTRAINT failed_attempt_pkey PRIMARY KEY (attempt_id);
ALTER TABLE ONLY rowledger.incident
    ADD CONSTRAINT incident_pkey PRIMARY KEY (incident_id);
ALTER TABLE ONLY rowledger.lease
    ADD CONSTRAINT lease_pkey PRIMARY KEY (load_id);
ALTER TABLE ONLY rowledger.letter_event
    ADD CONSTRAINT letter_event_pkey PRIMARY KEY (event_id);
ALTER TABLE ONLY rowledger.load
    ADD CONSTRAINT load_pkey PRIMARY KEY (load_id);
ALTER TABLE ONLY rowledger.schema_version
    ADD CONSTRAINT schema_version_pkey PRIMARY KEY (version);
CREATE UNIQUE INDEX dead_letter_row ON rowledger.dead_letter USING btree (load_id, row_no, part);
CREATE INDEX failed_attempt_of_partition ON rowledger.failed_attempt USING btree (target, partition_key, attempt_id);
CREATE INDEX incident_of_load ON rowledger.incident USING btree (load_id);
CREATE INDEX letter_event_of_letter ON rowledger.letter_event USING btree (dead_letter_id, event_id);
CREATE UNIQUE INDEX letter_event_of_replay ON rowledger.letter_event USING btree (replay, dead_letter_id) WHERE (replay IS NOT NULL);
CREATE UNIQUE INDEX load_appended ON rowledger.load USING btree (target, partition_key, content_digest) WHERE ((state = 'published'::text) AND (write_mode = 'append'::text));
CREATE UNIQUE INDEX load_loading ON rowledger.load USING btree (target, partition_key) WHERE (state = 'loading'::text);
CREATE INDEX load_of_partition ON rowledger.load USING btree (target, partition_key, load_id);
CREATE UNIQUE INDEX load_published ON rowledger.load USING btree (target, partition_key) WHERE ((state = 'published'::text) AND (write_mode = 'replace'::text));
ALTER INDEX public.appended_pkey ATTACH PARTITION public.staging_10_pkey;
ALTER INDEX public.upserted_pkey ATTACH PARTITION public.staging_11_pkey;
ALTER INDEX public.upserted_pkey ATTACH PARTITION public.staging_12_pkey;
ALTER INDEX public.events_pkey ATTACH PARTITION public.staging_1_pkey;
ALTER INDEX public.events_pkey ATTACH PARTITION public.staging_2_pkey;
ALTER INDEX public.by_region_pkey ATTACH PARTITION public.staging_5_pkey;
ALTER INDEX public.by_region_pkey ATTACH PARTITION public.staging_6_pkey;
ALTER INDEX public.appended_pkey ATTACH PARTITION public.staging_9_pkey;
ALTER TABLE ONLY rowledger.chunk
    ADD CONSTRAINT chunk_load_id_fkey FOREIGN KEY (load_id) REFERENCES rowledger.load(load_id) ON DELETE CASCADE;
ALTER TABLE ONLY rowledger.dead_letter
    ADD CONSTRAINT dead_letter_load_id_chunk_no_fkey FOREIGN KEY (load_id, chunk_no) REFERENCES rowledger.chunk(load_id, chunk_no) ON DELETE CASCADE;
ALTER TABLE ONLY rowledger.dead_letter
    ADD CONSTRAINT dead_letter_load_id_fkey FOREIGN KEY (load_id) REFERENCES rowledger.load(load_id) ON DELETE CASCADE;
ALTER TABLE ONLY rowledger.failed_attempt
    ADD CONSTRAINT failed_attempt_load_id_fkey FOREIGN KEY (load_id) REFERENCES rowledger.load(load_id) ON DELETE SET NULL;
ALTER TABLE ONLY rowledger.incident
    ADD CONSTRAINT incident_load_id_fkey FOREIGN KEY (load_id) REFERENCES rowledger.load(load_id) ON DELETE CASCADE;
ALTER TABLE ONLY rowledger.lease
    ADD CONSTRAINT lease_load_id_fkey FOREIGN KEY (load_id) REFERENCES rowledger.load(load_id) ON DELETE CASCADE;
ALTER TABLE ONLY rowledger.letter_event
    ADD CONSTRAINT letter_event_dead_letter_id_fkey FOREIGN KEY (dead_letter_id) REFERENCES rowledger.dead_letter(dead_letter_id) ON DELETE CASCADE;
