package oracle

import (
	"maps"
	"path/filepath"
	"testing"

	"consentpipeline.io/test/testneeds"
)

// TestParametersOfReferenceData counts what PARAMETERS of the reference data hold: known figures, by SQL from raw.event and a
// second time from the files.
func TestParametersOfReferenceData(t *testing.T) {
	reference := testneeds.ReferenceData(t)
	p := newPipeline(t)
	p.load(t, "reference", filepath.Join(reference, "input"))
	want := map[string]int64{
		"preferences.shownpurposes": 157, "preferences.purposechanged": 27, "preferences.shownvendors": 16, "preferences.vendorchanged": 3,
		"prompts with a position": 551, "consents without any purpose": 269, "consents with choices": 2835,
	}

	rows, err := p.conn.Query(t.Context(), `
		select raw.parameters_json(e) ->> 'action', count(*) from raw.event as e where type = 'ui.action' group by 1
		union all
		select 'prompts with a position', count(raw.parameters_json(e) ->> 'position') from raw.event as e where type = 'consent.asked'
		union all
		select 'consents without any purpose', count(*) from raw.event as e
		where type = 'consent.given' and json_array_length(raw.parameters_json(e) -> 'purposes' -> 'enabled') = 0
		    and json_array_length(raw.parameters_json(e) -> 'purposes' -> 'disabled') = 0
		union all
		select 'consents with choices', count(choice_set) from raw.event`)
	if err != nil {
		t.Fatal(err)
	}
	stored := map[string]int64{}
	var what string
	var n int64
	for rows.Next() {
		if err := rows.Scan(&what, &n); err != nil {
			t.Fatal(err)
		}
		stored[what] = n
	}
	if err := rows.Err(); err != nil || !maps.Equal(stored, want) {
		t.Errorf("raw.event has %v, want %v (%v)", stored, want, err)
	}

	read := map[string]int64{}
	for _, e := range p.export.Events {
		switch e.Type {
		case "ui.action":
			read[e.Action]++
		case "consent.asked":
			if e.Position != "" {
				read["prompts with a position"]++
			}
		case "consent.given":
			if e.Decisions != nil {
				read["consents with choices"]++
			}
			decides := false
			for p := range e.Decisions {
				decides = decides || p.kind == "purpose" && p.basis == "consent"
			}
			if !decides {
				read["consents without any purpose"]++
			}
		}
	}
	if !maps.Equal(read, want) {
		t.Errorf("the files have %v, want %v", read, want)
	}

	p.build(t, "--select", "+overall_consent_metrics")
	for _, record := range p.rows(t, "overall_consent_metrics", Keys["overall_consent_metrics"]) {
		if record["metric"] == "preferences_opened" && record["n"] != want["preferences.shownpurposes"] {
			t.Errorf("preferences_opened of scope %s has %v rows, want %d", record["scope"], record["n"], want["preferences.shownpurposes"])
		}
	}
}
