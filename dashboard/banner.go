package dashboard

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
)

// A banner states a problem and how to fix it.
type banner struct {
	Title    string
	Text     string
	Commands string
	Detail   string // what the database said
}

// statusBanner is shown in place of the numbers.
func statusBanner(s status) *banner {
	b := banner{Title: "Database error", Text: "The database returned an error."}
	switch s.condition {
	case away:
		b = banner{Title: "The database cannot be reached",
			Text: "Check that it runs, and that host and port in --database-url are right."}
	case refused:
		b = banner{Title: "The database refuses the dashboard",
			Text: "Check user and password, and that the user may read the schema analytics and the ledger: " +
				"`consent migrate --manage-roles` makes a role that may, and `consent transform --reader-role` gives it the metrics."}
	case noSchema:
		b = banner{Title: "The database has no tables yet", Text: "Make them, load files, and build the metrics:",
			Commands: "consent migrate\nconsent ingest --source FOLDER\nconsent transform"}
	case noLoads:
		b = banner{Title: "Nothing has been loaded yet", Text: "Load files, and build the metrics:",
			Commands: "consent ingest --source FOLDER\nconsent transform"}
	case noMarts:
		b = banner{Title: "The metrics have not been built yet",
			Text: "Files are loaded, but dbt has not built the metrics from them, or it failed (see its log). Build them:", Commands: "consent transform"}
	case building:
		b = banner{Title: "The metrics are being built", Text: "dbt is running. The page appears when it is done."}
	case otherMarts:
		b = banner{Title: "The metrics were built by another version",
			Text: "This version of the dashboard cannot read their tables. Build them again:", Commands: "consent transform"}
	}
	if s.err != nil {
		b.Detail = detail(s.err)
	}
	return &b
}

// detail is what the server said, and not where it is: the page is for more people than the log.
func detail(err error) string {
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return "The database says: " + server.Message + "."
	}
	return ""
}

// warningBanner is shown above numbers that are not current; nil if they are.
func warningBanner(c condition) *banner {
	switch c {
	case away, refused:
		return &banner{Title: "The database cannot be reached at this moment.", Text: "The page shows the numbers as they were last read."}
	case building:
		return &banner{Title: "The metrics are being rebuilt at this moment.", Text: "The page shows the new ones when dbt is done."}
	case dbtFailed:
		return &banner{Title: "The last build of the metrics failed.",
			Text:     "dbt failed, was stopped, or built only some models, so numbers may come from different loads. See its log for the reason. Build the metrics again:",
			Commands: "consent transform"}
	case outdated:
		return &banner{Title: "Files were loaded after the metrics were built.", Text: "They are not in these numbers yet. Build the metrics again:",
			Commands: "consent transform"}
	}
	return nil
}

// emptyBanner gives the reason why there is no company to show.
func emptyBanner(d *Data, s selection) *banner {
	switch {
	case s.Compare != "" && d.AllWithEvents > 0:
		return &banner{Title: "Two companies with events are needed for a comparison", Text: "Choose a company above, and on its page another one to compare it with."}
	case s.isSet() && d.AllWithEvents > 0:
		return &banner{Title: "No company with events matches this filter", Text: "Choose another one above, or all companies."}
	case d.AllKnown > 0:
		return &banner{Title: "No company has events yet", Text: plural(d.AllKnown, "company is", "companies are") +
			" known, but no file with events has been loaded. Load one, and build the metrics:", Commands: "consent ingest --source FOLDER\nconsent transform"}
	}
	return &banner{Title: "There is no data yet", Text: "The metrics are built, but no file has been loaded. Load files, and build them again:",
		Commands: "consent ingest --source FOLDER\nconsent transform"}
}
