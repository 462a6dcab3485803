package dashboard

import (
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// changeQuery reads the changes of the rates in the last 7 complete days: of the only company, or of all together. There are none of
// some companies together.
func (d *Data) changeQuery(keys []uuid.UUID) []query {
	from, args := "analytics.overall_consent_changes where", []any{}
	switch {
	case len(keys) == 1:
		from, args = "analytics.consent_changes where api_key = $1 and", []any{keys[0]}
	case d.Filter.isSet():
		return nil
	}
	d.Changes = map[rateKey]Change{}
	return []query{{"consent_changes", `
		select scope, rate, last_day, difference, difference_lower, difference_upper, is_clear
		from ` + from + ` days = 7 and difference is not null`, args,
		func(rows pgx.Rows) error {
			var key rateKey
			var last time.Time
			var between bounds
			change := Change{Against: "the 7 days before"}
			err := rows.Scan(&key.scope, &key.metric, &last, &change.Value, &between.lower, &between.upper, &change.Clear)
			change.Interval, change.Within = between.value(), "in the 7 days to "+last.Format("2 January 2006")
			d.Changes[key] = change
			return err
		}}}
}
