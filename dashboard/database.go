package dashboard

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"consentpipeline.io/internal/warehouse"
)

// marts are the tables that the page is made from.
var marts = []string{
	"company_performance", "company_consent_metrics", "consent_status_distribution", "time_to_consent", "consent_daily",
	"event_breakdown", "extrapolation_sensitivity", "data_quality", "overall_consent_metrics", "overall_time_to_consent",
	"consent_segments", "overall_consent_segments", "segment_comparison", "consent_changes", "overall_consent_changes",
	"consent_coding", "consent_purposes", "overall_consent_purposes",
}

// sessionSettings make each session read-only with short timeouts, whatever rights its role has.
var sessionSettings = map[string]string{
	"default_transaction_read_only":       "on",
	"statement_timeout":                   "10s",
	"lock_timeout":                        "5s",
	"idle_in_transaction_session_timeout": "30s",
}

// connections is how many sessions the dashboard has at most. Each reads one snapshot at a time, and snapshots are kept.
const connections = 4

// open prepares connections without making one, so that the page is there before the database.
func open(ctx context.Context, c warehouse.Config) (*pgxpool.Pool, error) {
	return warehouse.NewPool(ctx, c, connections, sessionSettings)
}

// A condition is a problem that hides the metrics from readers or makes them doubtful.
type condition string

const (
	healthy    condition = ""
	away       condition = "database_away"
	refused    condition = "database_refuses"
	noSchema   condition = "no_schema"
	noLoads    condition = "no_loads"
	noMarts    condition = "no_marts"
	building   condition = "building"
	dbtFailed  condition = "build_unfinished"
	outdated   condition = "build_outdated" // files were loaded since
	otherMarts condition = "other_version"
)

// A status is the state of the warehouse at one moment.
type status struct {
	condition   condition
	err         error  // the database's error behind the condition
	fingerprint string // differs where anything that the page shows may differ
	hasMarts    bool
	hasDocs     bool // dbt's
}

// ledgerState returns what was loaded, whether the last build ended, whether it contains what is loaded now, and whether a build
// is running ($1 is its lock). An empty load set is that of a build that has begun and not ended.
const ledgerState = `
	with loads as (
	    select count(*) as n,
	           concat_ws(' ', count(*), max(load_id), max(finished), count(*) filter (where state = 'published'),
	                     count(*) filter (where state = 'loading')) as print,
	           encode(sha256(convert_to(
	               coalesce(string_agg(load_id::text, ',' order by load_id) filter (where state = 'published'), ''),
	               'UTF8')), 'hex') as load_set
	    from raw.load
	),
	runs as (select concat_ws(' ', count(*), max(started), max(finished)) as print from raw.run),
	builds as (select build_id, load_set from analytics.build order by build_id desc limit 1),
	docs as (select max(made) as made from analytics.documentation)
	select concat_ws(' / ', loads.print, runs.print, builds.build_id, builds.load_set, docs.made), loads.n, docs.made is not null,
	       coalesce(builds.load_set <> '', false), coalesce(builds.load_set = loads.load_set, false),
	       exists (select from pg_locks
	               where locktype = 'advisory' and granted and objsubid = 1
	                   and database = (select oid from pg_database where datname = current_database())
	                   and classid::bigint << 32 | objid::bigint = $1)
	from loads cross join runs cross join docs left join builds on true`

// probe asks what state the warehouse is in. It reads the catalogue and a few rows.
func probe(ctx context.Context, pool *pgxpool.Pool) status {
	var s status
	err := warehouse.Within(ctx, pool, "isolation level read committed, read only", func(tx pgx.Tx) (err error) {
		s, err = probeIn(ctx, tx)
		return err
	})
	if err != nil {
		return failed(err)
	}
	return s
}

func probeIn(ctx context.Context, tx pgx.Tx) (s status, err error) {
	var hasLedger bool
	var oids []uint32
	var comments string
	err = tx.QueryRow(ctx, `
		select to_regclass('raw.schema_version') is not null
		           and to_regclass('raw.load') is not null and to_regclass('analytics.documentation') is not null,
		       array(select coalesce(to_regclass('analytics.' || name), 0)::oid from unnest($1::text[]) as marts (name)),
		       coalesce((select string_agg(xmin::text, ' ' order by objoid) from pg_description
		                 where classoid = 'pg_class'::regclass and objsubid = 0
		                     and objoid in (select to_regclass('analytics.' || name) from unnest($1::text[]) as marts (name))), '')`,
		marts).Scan(&hasLedger, &oids, &comments)
	if err != nil {
		return s, err
	}
	if !hasLedger {
		s.condition = noSchema
		return s, nil
	}
	s.hasMarts = true
	for _, oid := range oids {
		s.hasMarts = s.hasMarts && oid != 0
	}
	var ledger string
	var loads int64
	var isBuilding, isWhole, isCurrent bool
	err = tx.QueryRow(ctx, ledgerState, warehouse.LockTransform).
		Scan(&ledger, &loads, &s.hasDocs, &isWhole, &isCurrent, &isBuilding)
	if err != nil {
		return s, err
	}
	// dbt writes a table's comment in the transaction that changes its rows, also where the ledger knows nothing of it.
	s.fingerprint = fmt.Sprint(oids, comments, ledger)
	switch {
	case isBuilding:
		s.condition = building
	case !s.hasMarts && loads == 0:
		s.condition = noLoads
	case !s.hasMarts:
		s.condition = noMarts
	case !isWhole:
		s.condition = dbtFailed
	case !isCurrent:
		s.condition = outdated
	}
	return s, nil
}

// failed is the state that an error of the database shows.
func failed(err error) status {
	s := status{condition: away, err: err}
	var server *pgconn.PgError
	switch {
	case errors.As(err, &server) && (server.Code == "42P01" || server.Code == "42703" || server.Code == "42883"):
		s.condition = otherMarts
	case warehouse.IsRefused(err):
		s.condition = refused
	}
	return s
}

// isSerializationFailure reports whether the transaction may succeed if it begins again.
func isSerializationFailure(err error) bool {
	var server *pgconn.PgError
	return errors.As(err, &server) && server.Code == "40001"
}

// inSnapshot calls read with a transaction that sees the marts as they are at one moment. They are locked before the
// snapshot is taken, because columns that dbt changes later would not be part of it.
func inSnapshot(ctx context.Context, pool *pgxpool.Pool, read func(pgx.Tx) error) error {
	return warehouse.Within(ctx, pool, "isolation level repeatable read, read only", func(tx pgx.Tx) error {
		lock := "lock table analytics." + strings.Join(marts, ", analytics.") + " in access share mode"
		if _, err := tx.Exec(ctx, lock); err != nil {
			return err
		}
		return read(tx)
	})
}
