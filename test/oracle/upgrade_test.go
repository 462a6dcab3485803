package oracle

import (
	"testing"

	"consentpipeline.io/jobs/transform"
)

// TestOldTablesAreRebuilt builds over tables of a version of the project whose incremental models had fewer columns.
func TestOldTablesAreRebuilt(t *testing.T) {
	w := newWorld(t, 11)
	w.publish(w.newFile(), w.someRows(60))
	w.build(t)
	w.exec("alter table analytics.int_events drop column notice_position")
	w.exec("alter table analytics.int_daily__dimensions drop column consent_status, drop column action_class, drop column notice_position")
	w.exec("delete from analytics.int_daily__dimensions where dimension in ('browser', 'domain', 'deployment')")
	// Rows that only a full refresh reads again: no file has changed.
	if _, err := transform.Run(t.Context(), w.options); err != nil {
		t.Fatal(err)
	}
	if got, want := w.number("select count(*) from analytics.int_events where event_type = 'consent.asked' and notice_position is not null"),
		w.number("select count(*) from raw.event where type = 'consent.asked'"); got != want || want == 0 {
		t.Errorf("%d of %d prompts have a position", got, want)
	}
	if got := w.number("select count(distinct dimension) from analytics.consent_segments"); got != 7 {
		t.Errorf("consent_segments has %d dimensions, want 7", got)
	}
	w.compare()
}
