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

// The queries over the table of strata, with the dbt project's macros. Each returns a sample's estimate with its
// interval, and the numbers of rows that decide whether the marts publish one.
const (
	totalQuery = `
		select draw, total as estimate, null::double precision as n_effective, n as n_least, n_sampled as n_sampled_least,
			{{ total_bounds() }}
		from ({{ total_moments('strata', ['draw']) }}) as moments`
	shareQuery = `
		select draw, share as estimate, {{ kish_rows('total', 'process_squares') }} as n_effective, n as n_least,
			n_sampled as n_sampled_least, {{ share_bounds() }}
		from ({{ share_moments('strata', ['draw']) }}) as moments`
	ratioQuery = `
		{%- set given = "(select * from strata where event_type = 'consent.given') as given" -%}
		{%- set asked = "(select * from strata where event_type = 'consent.asked') as asked" -%}
		select
			draw,
			coalesce(numerator.total, 0) / denominator.total as estimate,
			{{ kish_rows('denominator.total', '(denominator.process_variance_sampled + denominator.process_variance_unsampled)') }}
				as n_effective,
			least(numerator.n, denominator.n) as n_least,
			coalesce(least(nullif(numerator.n_sampled, 0), nullif(denominator.n_sampled, 0)), 0) as n_sampled_least,
			{{ ratio_bounds() }}
		from (
			select *, total as estimate, {{ total_bounds() }} from ({{ total_moments(asked, ['draw']) }}) as moments
		) as denominator
		left join (
			select *, total as estimate, {{ total_bounds() }} from ({{ total_moments(given, ['draw']) }}) as moments
		) as numerator using (draw)`
	medianQuery = `
		select
			draw,
			{{ weighted_quantile('seconds', '0.5 * weight_sum') }} as estimate,
			null::double precision as n_effective,
			count(*) as n_least,
			count(*) filter (where sampling_rate < 1) as n_sampled_least,
			{{ median_bound('lower', 'seconds', share_bound('lower', '0.5', 'sampling_n') ~ ' * weight_sum') }} as sampling_lower,
			{{ median_bound('upper', 'seconds', share_bound('upper', '0.5', 'sampling_n') ~ ' * weight_sum') }} as sampling_upper,
			{{ median_bound('lower', 'seconds', share_bound('lower', '0.5', 'process_n') ~ ' * weight_sum') }} as process_lower,
			{{ median_bound('upper', 'seconds', share_bound('upper', '0.5', 'process_n') ~ ' * weight_sum') }} as process_upper
		from (
			select *,
				sum(weight) over (partition by draw order by seconds) as weight_until,
				sum(weight) over (partition by draw order by seconds) - sum(weight) over (partition by draw, seconds) as weight_before,
				sum(weight) over (partition by draw) as weight_sum,
				power(sum(weight) over (partition by draw), 2)
					/ nullif(sum(weight * weight * (1 - sampling_rate)) over (partition by draw), 0) as sampling_n,
				power(sum(weight) over (partition by draw), 2) / sum(weight * weight) over (partition by draw) as process_n
			from (select draw, seconds, sampling_rate, 1 / sampling_rate as weight from durations) as weighted
		) as steps
		group by draw`
)

// oddsRatioQuery compares two values over the companies of each draw, as segment_comparison does.
const oddsRatioQuery = `
	with cells as (
		select draw, company, value,
			sum(weight) filter (where is_yes) / sum(weight) as share,
			{{ kish_rows('sum(weight)', 'sum(squares)') }} as effective
		from (select draw, company, value, is_yes, weight, squares from choices
			union all select draw, company, value, true, 0, 0 from choices) as with_zero
		group by 1, 2, 3
	),
	tables as (
		select cells.draw,
			cells.share * cells.effective as a, (1 - cells.share) * cells.effective as b,
			others.share * others.effective as c, (1 - others.share) * others.effective as d
		from cells inner join cells as others on cells.draw = others.draw and cells.company = others.company
		where cells.value = 'value' and others.value = 'reference' and cells.share + others.share > 0 and cells.share + others.share < 2
	),
	effective as (select draw, least(sum(a + b), sum(c + d)) as n_effective from tables group by 1),
	odds_ratios as ({{ mantel_haenszel('tables', ['draw']) }}),
	homogeneity as ({{ breslow_day('tables', 'odds_ratios', ['draw']) }})
	select odds_ratio, odds_ratio_lower, odds_ratio_upper, p_value, homogeneity_p_value
	from odds_ratios
	inner join effective using (draw)
	left join homogeneity using (draw)
	where n_effective >= {{ least_effective_rows() }}`

// differenceQuery compares two estimates with their process intervals, as int_consent_changes does.
const differenceQuery = `
	{%- set later, earlier = ['later', 'later_lower', 'later_upper'], ['earlier', 'earlier_lower', 'earlier_upper'] -%}
	select difference, difference_lower, difference_upper, {{ erfc('(least(deviations, 20) / sqrt(2))') }} as p_value
	from (
		select
			later - earlier as difference,
			{{ difference_bound('lower', later, earlier) }} as difference_lower,
			{{ difference_bound('upper', later, earlier) }} as difference_upper,
			{{ difference_deviations(later, earlier) }} as deviations
		from pairs
	) as differences`

// statistics are in the order of the queries.
var statistics = []string{"total", "ratio", "share", "median", "odds ratio", "difference"}

// Formulas are the queries as dbt compiles them, by statistic.
type Formulas map[string]string

// Compile compiles the queries with dbt, in a project with only the given project's macros: its models would need
// parsing and a database. dbt writes to folder.
func Compile(ctx context.Context, dbt, project, folder string) (Formulas, error) {
	for _, part := range []string{"dbt_project.yml", "profiles.yml", "macros"} {
		if err := copyTo(filepath.Join(folder, part), filepath.Join(project, part)); err != nil {
			return nil, err
		}
	}
	const separator = "-- the next query"
	inline := strings.Join([]string{totalQuery, ratioQuery, shareQuery, medianQuery, oddsRatioQuery, differenceQuery}, "\n"+separator+"\n")
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

// copyTo copies a file or a folder, recursively.
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

// An estimate is what Postgres computed from one sample. A bound is nil if the formula has none.
type estimate struct {
	draw       int
	value      float64
	effective  *float64 // rows of the denominator; nil for totals and medians
	n, sampled int64    // smallest number of rows, and of sampled rows if there are any
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

// published reports whether the marts publish the interval: with at least five rows, and five sampled ones if there are any.
func (e estimate) published() bool { return e.n >= 5 && (e.sampled == 0 || e.sampled >= 5) }

// prepare creates the tables of the samples. Do not use conn for anything else.
func prepare(ctx context.Context, conn *pgx.Conn) error {
	// JIT-compiling queries of this size takes longer than running them. The strata have the types of the daily sums.
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
		from drawn;
		create temporary table if not exists durations (draw bigint, sampling_rate numeric, seconds double precision);
		truncate durations`)
	return err
}

// evaluate computes the estimates of samples.
func (f Formulas) evaluate(ctx context.Context, conn *pgx.Conn, statistic string, drawn []sample) ([]estimate, error) {
	if err := prepare(ctx, conn); err != nil {
		return nil, err
	}
	var strata, durations [][]any
	for draw, s := range drawn {
		for _, s := range s.strata {
			strata = append(strata, []any{int64(draw), s.eventType, s.rate, s.yes, int64(s.n), s.weight, s.squares})
		}
		for _, seconds := range s.durations {
			durations = append(durations, []any{int64(draw), s.rate, seconds})
		}
	}
	columns := []string{"draw", "event_type", "sampling_rate", "is_yes", "n", "weight", "squares"}
	if _, err := conn.CopyFrom(ctx, pgx.Identifier{"drawn"}, columns, pgx.CopyFromRows(strata)); err != nil {
		return nil, err
	}
	columns = []string{"draw", "sampling_rate", "seconds"}
	if _, err := conn.CopyFrom(ctx, pgx.Identifier{"durations"}, columns, pgx.CopyFromRows(durations)); err != nil {
		return nil, err
	}
	answer, err := conn.Query(ctx, `select draw, estimate, n_effective, n_least, n_sampled_least,
		sampling_lower, sampling_upper, process_lower, process_upper from (`+f[statistic]+`) as estimates`)
	if err != nil {
		return nil, err
	}
	var estimates []estimate
	var e estimate
	_, err = pgx.ForEachRow(answer, []any{&e.draw, &e.value, &e.effective, &e.n, &e.sampled,
		&e.sampling.lower, &e.sampling.upper, &e.process.lower, &e.process.upper}, func() error {
		estimates = append(estimates, e)
		return nil
	})
	return estimates, err
}
