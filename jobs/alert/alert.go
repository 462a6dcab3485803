// Package alert is the job that posts changes of the rates to a webhook: one CloudEvents event for each change, signed as
// Standard Webhooks describes, and once. It reads the marts and writes what it has sent; of files and dbt it knows nothing.
package alert

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"consentpipeline.io/internal/report"
	"consentpipeline.io/internal/warehouse"
)

// Rates are those that thresholds may name. The opt-out rate is 1 minus the consent rate, so its changes are not posted again.
var Rates = []string{"conversion", "choice_rate", "opt_in_rate", "consent_rate"}

// A Threshold is posted when the whole 95% interval of a rate over the last 7 complete days is below it.
type Threshold struct {
	Rate  string
	Below float64 // a fraction of 1
}

// ParseThreshold reads RATE=VALUE, such as consent_rate=0.5.
func ParseThreshold(text string) (Threshold, error) {
	rate, number, _ := strings.Cut(text, "=")
	if !slices.Contains(Rates, rate) {
		return Threshold{}, fmt.Errorf("threshold %q: rate %q: expected one of %s", text, rate, strings.Join(Rates, ", "))
	}
	below, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsNaN(below) || below <= 0 || below > 1 {
		return Threshold{}, fmt.Errorf("threshold %q: %q: expected a number above 0 and up to 1, such as 0.5", text, number)
	}
	return Threshold{rate, below}, nil
}

// Options define what is posted, and where.
type Options struct {
	Database   warehouse.Config
	Webhook    Webhook
	Thresholds []Threshold
	Log        *slog.Logger
}

// A Result is what a run did.
type Result struct {
	Found  int      `json:"found"`  // changes and thresholds that hold now
	Before int      `json:"before"` // of these, posted before
	Sent   []string `json:"sent"`   // summaries of the events that the receiver has accepted now
}

// A Period is one of the two that are compared.
type Period struct {
	FirstDay string   `json:"first_day"`
	LastDay  string   `json:"last_day"`
	Rows     int64    `json:"n"`
	Estimate float64  `json:"estimate"`
	Lower    *float64 `json:"lower"` // of the 95% process interval
	Upper    *float64 `json:"upper"`
}

// Data is what an event is about.
type Data struct {
	Summary    string     `json:"summary"`
	Company    *uuid.UUID `json:"company"` // null for all companies together
	Name       string     `json:"company_name"`
	Rate       string     `json:"rate"`
	Scope      string     `json:"scope"`
	Days       int        `json:"days"`
	Period     Period     `json:"period"`
	Previous   *Period    `json:"previous,omitempty"`
	Difference *float64   `json:"difference,omitempty"` // a fraction of 1
	Lower      *float64   `json:"difference_lower,omitempty"`
	Upper      *float64   `json:"difference_upper,omitempty"`
	Below      *float64   `json:"below,omitempty"` // the threshold
}

// An Event is a CloudEvents 1.0 event in JSON.
type Event struct {
	SpecVersion     string    `json:"specversion"`
	ID              string    `json:"id"`
	Source          string    `json:"source"`
	Type            string    `json:"type"`
	Subject         string    `json:"subject"`
	Time            time.Time `json:"time"`
	DataContentType string    `json:"datacontenttype"`
	Data            Data      `json:"data"`

	what    string // the kind of change, which is posted once
	lastDay time.Time
}

// The types of events.
const (
	typeChanged = "io.consentpipeline.rate.changed"
	typeBelow   = "io.consentpipeline.rate.below"
)

// lockAlert is held by the one run that posts.
const lockAlert int64 = 0x636f6e73656e7403

// Run posts what is new. Its errors carry their exit code: report.TryAgain if the database or the receiver was unavailable, and
// report.BadConfig if the receiver refuses the event or the metrics are not built. What the receiver has accepted is not posted
// again; only if the program ends between the answer and its record, the same event is, with the same id.
func Run(ctx context.Context, o Options) (result Result, err error) {
	db, err := warehouse.Open(ctx, o.Database, 2) // one connection for the lock, one for all else
	if err != nil {
		return result, classify(ctx, err)
	}
	defer db.Close()
	conn, err := db.Pool().Acquire(ctx)
	if err != nil {
		return result, classify(ctx, err)
	}
	defer conn.Release()
	lock, err := warehouse.LockFor(ctx, conn.Conn(), lockAlert, func() { o.Log.Info("another run posts alerts; waiting for its end") })
	if err != nil {
		return result, classify(ctx, err)
	}
	defer lock.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // it only holds the lock

	if err := createTable(ctx, db); err != nil {
		return result, classify(ctx, err)
	}
	events, err := find(ctx, db, o.Thresholds)
	if err != nil {
		return result, classify(ctx, err)
	}
	result.Found = len(events)
	for _, event := range events {
		isNew, err := isNew(ctx, db, event)
		if err != nil {
			return result, classify(ctx, err)
		}
		if !isNew {
			result.Before++
			continue
		}
		body, err := json.Marshal(event)
		if err != nil {
			return result, report.New(report.BadConfig, err)
		}
		if err := o.Webhook.post(ctx, event.ID, body, o.Log); err != nil {
			return result, fmt.Errorf("post %q: %w", event.Data.Summary, err)
		}
		if err := record(ctx, db, event); err != nil {
			return result, classify(ctx, err)
		}
		o.Log.Info("posted an alert", "id", event.ID, "summary", event.Data.Summary)
		result.Sent = append(result.Sent, event.Data.Summary)
	}
	return result, nil
}

// classify gives an error of the database its exit code.
func classify(ctx context.Context, err error) error {
	if ctx.Err() != nil || warehouse.IsTransient(err) {
		return report.New(report.TryAgain, warehouse.Advise(err))
	}
	return report.New(report.BadConfig, warehouse.Advise(err))
}

// createTable creates the table of what was posted, at the first run.
func createTable(ctx context.Context, db *warehouse.DB) error {
	var exists bool
	if err := db.Pool().QueryRow(ctx, "select to_regclass('analytics.alert') is not null").Scan(&exists); err != nil || exists {
		return err
	}
	_, err := db.Pool().Exec(ctx, `
		create table analytics.alert (
		    event_id text primary key,
		    what     text not null,
		    last_day date not null,
		    summary  text not null,
		    sent     timestamptz not null default now()
		);
		comment on table analytics.alert is 'The alerts that a receiver has accepted: consent alert posts each once.'`)
	return err
}

// find reads the changes beyond noise, and the rates below a threshold.
func find(ctx context.Context, db *warehouse.DB, thresholds []Threshold) ([]Event, error) {
	rows, err := db.Pool().Query(ctx, `
		with changes as (
		    select api_key, company_name, scope, rate, days, first_day, last_day, n, estimate, process_lower, process_upper, previous_first_day,
		           previous_last_day, previous_n, previous_estimate, previous_process_lower, previous_process_upper, difference,
		           difference_lower, difference_upper, is_clear, null_because
		    from analytics.consent_changes
		    union all
		    select null, 'all companies together', scope, rate, days, first_day, last_day, n, estimate, process_lower, process_upper,
		           previous_first_day, previous_last_day, previous_n, previous_estimate, previous_process_lower, previous_process_upper, difference,
		           difference_lower, difference_upper, is_clear, null_because
		    from analytics.overall_consent_changes
		)
		select api_key, company_name, scope, rate, days, first_day, last_day, n, estimate, process_lower, process_upper, previous_first_day,
		       previous_last_day, previous_n, previous_estimate, previous_process_lower, previous_process_upper, difference,
		       difference_lower, difference_upper, is_clear
		from changes
		where scope = 'notice' and rate = any ($1) and estimate is not null
		order by api_key nulls first, rate, days`, Rates)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var events []Event
	for rows.Next() {
		changed, isClear, err := scan(rows)
		if err != nil {
			return nil, err
		}
		if isClear {
			events = append(events, changedEvent(changed))
		}
		for _, one := range thresholds {
			if changed.Days == 7 && changed.Rate == one.Rate && changed.Period.Upper != nil && *changed.Period.Upper < one.Below {
				events = append(events, belowEvent(changed, one))
			}
		}
	}
	return events, rows.Err()
}

// scan reads a row of find.
func scan(rows pgx.Rows) (d Data, isClear bool, err error) {
	var previous Period
	var first, last, previousFirst, previousLast time.Time
	var previousEstimate *float64
	err = rows.Scan(&d.Company, &d.Name, &d.Scope, &d.Rate, &d.Days, &first, &last, &d.Period.Rows, &d.Period.Estimate, &d.Period.Lower, &d.Period.Upper,
		&previousFirst, &previousLast, &previous.Rows, &previousEstimate, &previous.Lower, &previous.Upper, &d.Difference, &d.Lower, &d.Upper, &isClear)
	d.Period.FirstDay, d.Period.LastDay = first.Format(time.DateOnly), last.Format(time.DateOnly)
	previous.FirstDay, previous.LastDay = previousFirst.Format(time.DateOnly), previousLast.Format(time.DateOnly)
	if previousEstimate != nil {
		previous.Estimate = *previousEstimate
		d.Previous = &previous
	}
	return d, isClear, err
}

func changedEvent(d Data) Event {
	direction := "rose"
	if *d.Difference < 0 {
		direction = "fell"
	}
	d.Summary = fmt.Sprintf("%s of %s %s from %s to %s, by %.1f points (95%%: %.1f to %.1f), in the %d days to %s against the %d before",
		name(d.Rate), d.Name, direction, percent(d.Previous.Estimate), percent(d.Period.Estimate), 100*math.Abs(*d.Difference),
		100*min(math.Abs(*d.Lower), math.Abs(*d.Upper)), 100*max(math.Abs(*d.Lower), math.Abs(*d.Upper)), d.Days, d.Period.LastDay, d.Days)
	return newEvent(typeChanged, direction, d)
}

func belowEvent(d Data, one Threshold) Event {
	d.Below = &one.Below
	d.Previous, d.Difference, d.Lower, d.Upper = nil, nil, nil, nil
	d.Summary = fmt.Sprintf("%s of %s is %s (95%%: %s to %s), below %s, in the %d days to %s", name(d.Rate), d.Name, percent(d.Period.Estimate),
		percent(*d.Period.Lower), percent(*d.Period.Upper), percent(one.Below), d.Days, d.Period.LastDay)
	return newEvent(typeBelow, strconv.FormatFloat(one.Below, 'g', -1, 64), d)
}

func name(rate string) string {
	return strings.ToUpper(rate[:1]) + strings.ReplaceAll(rate[1:], "_", " ")
}

func percent(x float64) string { return fmt.Sprintf("%.1f%%", 100*x) }

// newEvent makes an event. Its id follows from what has changed and until when, so that it is the same at each attempt.
func newEvent(kind, which string, d Data) Event {
	subject := "all"
	if d.Company != nil {
		subject = d.Company.String()
	}
	what := strings.Join([]string{kind, subject, d.Rate, strconv.Itoa(d.Days), which}, " ")
	sum := sha256.Sum256([]byte(what + " " + d.Period.LastDay))
	last, _ := time.Parse(time.DateOnly, d.Period.LastDay) // it was written by scan
	return Event{SpecVersion: "1.0", ID: hex.EncodeToString(sum[:16]), Source: "consent-pipeline", Type: kind, Subject: subject,
		Time: time.Now().UTC(), DataContentType: "application/json", Data: d, what: what, lastDay: last}
}

// isNew reports whether an event was not posted yet, and neither was one of the same change for a period that overlaps: a change
// stays clear for some days.
func isNew(ctx context.Context, db *warehouse.DB, e Event) (isNew bool, err error) {
	err = db.Pool().QueryRow(ctx, "select not exists (select from analytics.alert where what = $1 and last_day > $2::date - $3::int)",
		e.what, e.lastDay, e.Data.Days).Scan(&isNew)
	return isNew, err
}

func record(ctx context.Context, db *warehouse.DB, e Event) error {
	_, err := db.Pool().Exec(ctx, "insert into analytics.alert (event_id, what, last_day, summary) values ($1, $2, $3, $4) on conflict do nothing",
		e.ID, e.what, e.lastDay, e.Data.Summary)
	return err
}
