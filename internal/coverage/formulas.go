package coverage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
)

// The queries over the table of strata, in the dbt project's macros. Each gives for a sample the estimate with its
// interval, and the numbers of rows that decide whether the marts publish one.
const (
	totalQuery = `
		select draw, total as estimate, n as n_least, n_sampled as n_sampled_least, {{ total_bounds() }}
		from ({{ total_moments('strata', ['draw']) }}) as moments`
	shareQuery = `
		select draw, share as estimate, n as n_least, n_sampled as n_sampled_least, {{ share_bounds() }}
		from ({{ share_moments('strata', ['draw']) }}) as moments`
	ratioQuery = `
		{%- set given = "(select * from strata where event_type = 'consent.given') as given" -%}
		{%- set asked = "(select * from strata where event_type = 'consent.asked') as asked" -%}
		select
			draw,
			coalesce(numerator.total, 0) / denominator.total as estimate,
			least(numerator.n, denominator.n) as n_least,
			coalesce(least(nullif(numerator.n_sampled, 0), nullif(denominator.n_sampled, 0)), 0) as n_sampled_least,
			{{ ratio_bounds() }}
		from ({{ total_moments(asked, ['draw']) }}) as denominator
		left join ({{ total_moments(given, ['draw']) }}) as numerator using (draw)`
)

// Formulas are the queries as dbt compiles them, by statistic.
type Formulas map[string]string

// Compile has dbt compile the queries, in a project that has the given one's macros only: its models would have to be
// parsed, and connected to their database. folder is for what dbt writes.
func Compile(ctx context.Context, dbt, project, folder string) (Formulas, error) {
	for _, part := range []string{"dbt_project.yml", "profiles.yml", "macros"} {
		if err := copyTo(filepath.Join(folder, part), filepath.Join(project, part)); err != nil {
			return nil, err
		}
	}
	const separator = "-- the next query"
	statistics := []string{"total", "ratio", "share"}
	inline := strings.Join([]string{totalQuery, ratioQuery, shareQuery}, "\n"+separator+"\n")
	cmd := exec.CommandContext(ctx, dbt, "--quiet", "compile", "--no-introspect", "--no-populate-cache",
		"--project-dir", folder, "--profiles-dir", folder, "--target-path", filepath.Join(folder, "target"),
		"--log-path", filepath.Join(folder, "logs"), "--inline", inline)
	cmd.Env = append(os.Environ(), "PGUSER=nobody", "PGDATABASE=nothing", "DBT_SEND_ANONYMOUS_USAGE_STATS=false")
	output, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			output = append(output, exit.Stderr...)
		}
		return nil, fmt.Errorf("dbt compile: %w: %s", err, output)
	}
	queries := strings.Split(string(output), separator)
	if len(queries) != len(statistics) {
		return nil, fmt.Errorf("dbt compile gave %d queries, want %d: %s", len(queries), len(statistics), output)
	}
	formulas := Formulas{}
	for i, statistic := range statistics {
		formulas[statistic] = queries[i]
	}
	return formulas, nil
}

// copyTo copies a file, or a folder with all that is in it.
func copyTo(to, from string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return os.CopyFS(to, os.DirFS(from))
	}
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o600)
}

// An estimate is what Postgres made of one sample. A bound is nil where the formula gives none.
type estimate struct {
	value      float64
	n, sampled int64 // the least numbers of rows, and of sampled rows where there are any
	sampling   bounds
	process    bounds
}

type bounds struct{ lower, upper *float64 }

func (e estimate) bounds(kind Kind) bounds {
	if kind == Sampling {
		return e.sampling
	}
	return e.process
}

// published tells whether the marts give the interval: from five rows, and from five sampled ones where there are any.
func (e estimate) published() bool { return e.n >= 5 && (e.sampled == 0 || e.sampled >= 5) }

// evaluate gives the estimates of samples. conn is to be used for nothing else: it keeps a table of its own.
func (f Formulas) evaluate(ctx context.Context, conn *pgx.Conn, statistic string, samples [][]stratum) ([]estimate, error) {
	// 1. The strata, with the types that the daily sums have.
	// Compiling a query of this size would take longer than it runs.
	_, err := conn.Exec(ctx, `
		set jit = off;
		create temporary table if not exists drawn (
			draw bigint, event_type text, sampling_rate double precision, is_yes boolean, n bigint,
			weight double precision, squares double precision);
		truncate drawn;
		create or replace temporary view strata as
		select draw, 'count_over_rate'::text as extrapolation, event_type, sampling_rate::numeric as sampling_rate, is_yes,
			n, 0::bigint as n_rate_unknown, weight::numeric as weight, squares::numeric as squares,
			(squares * sampling_rate)::numeric as squares_rate
		from drawn`)
	if err != nil {
		return nil, err
	}
	var rows [][]any
	for draw, strata := range samples {
		for _, s := range strata {
			rows = append(rows, []any{int64(draw), s.eventType, s.rate, s.yes, int64(s.n), s.weight, s.squares})
		}
	}
	columns := []string{"draw", "event_type", "sampling_rate", "is_yes", "n", "weight", "squares"}
	if _, err := conn.CopyFrom(ctx, pgx.Identifier{"drawn"}, columns, pgx.CopyFromRows(rows)); err != nil {
		return nil, err
	}

	// 2. What the formulas make of them.
	answer, err := conn.Query(ctx, `select estimate, n_least, n_sampled_least,
		sampling_lower, sampling_upper, process_lower, process_upper from (`+f[statistic]+`) as estimates`)
	if err != nil {
		return nil, err
	}
	var estimates []estimate
	var e estimate
	_, err = pgx.ForEachRow(answer, []any{&e.value, &e.n, &e.sampled,
		&e.sampling.lower, &e.sampling.upper, &e.process.lower, &e.process.upper}, func() error {
		estimates = append(estimates, e)
		return nil
	})
	return estimates, err
}
