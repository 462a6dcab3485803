package oracle

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"unicode/utf8"
)

// mostIDs is how many purposes or vendors of each basis the marts have, those with the most rows.
const mostIDs = 50

// A purpose is a purpose or vendor, as the consents of a file name it.
type purpose struct{ kind, basis, id string }

// choiceLists are the objects of PARAMETERS with the choices of a consent.
var choiceLists = map[string]purpose{
	"purposes": {kind: "purpose", basis: "consent"}, "purposes_li": {kind: "purpose", basis: "legitimate_interest"},
	"vendors": {kind: "vendor", basis: "consent"}, "vendors_li": {kind: "vendor", basis: "legitimate_interest"},
}

// decisions returns what PARAMETERS of a consent enables (true) and disables. An ID that is in both lists is undecided.
func decisions(parameters string) map[purpose]bool {
	decided, contradictory := map[purpose]bool{}, map[purpose]bool{}
	var objects map[string]json.RawMessage
	if json.Unmarshal([]byte(parameters), &objects) != nil {
		return nil
	}
	for key, list := range choiceLists {
		var states map[string]json.RawMessage
		if json.Unmarshal(objects[key], &states) != nil {
			continue // absent, or no object
		}
		for state, enabled := range map[string]bool{"enabled": true, "disabled": false} {
			var entries []json.RawMessage
			if json.Unmarshal(states[state], &entries) != nil {
				continue
			}
			for _, entry := range entries {
				list.id = idOf(entry)
				if list.id == "" {
					continue
				}
				if before, ok := decided[list]; ok && before != enabled {
					contradictory[list] = true
				}
				decided[list] = enabled
			}
		}
	}
	maps.DeleteFunc(decided, func(p purpose, _ bool) bool { return contradictory[p] })
	return decided
}

// idOf returns the first 200 characters of a string or a number; empty for other JSON.
func idOf(entry json.RawMessage) string {
	var text string
	switch c := entry[0]; {
	case c == '"':
		if json.Unmarshal(entry, &text) != nil {
			return ""
		}
	case c == '-' || c >= '0' && c <= '9':
		text = string(entry)
	}
	if utf8.RuneCountInString(text) > 200 {
		text = string([]rune(text)[:200])
	}
	return text
}

// purposes calls add for each purpose and vendor that has a row in the marts, with the columns that are the same for one
// company and for all, and with the estimate.
func purposes(rows []row, r reading, add func(Record, estimate)) {
	byPurpose := map[purpose][]row{}
	for _, one := range rows {
		for p := range one.Decisions {
			byPurpose[p] = append(byPurpose[p], one)
		}
	}
	for _, list := range choiceLists {
		var ids []purpose
		for p := range byPurpose {
			if p.kind == list.kind && p.basis == list.basis {
				ids = append(ids, p)
			}
		}
		slices.SortFunc(ids, func(a, b purpose) int {
			return cmp.Or(cmp.Compare(len(byPurpose[b]), len(byPurpose[a])), cmp.Compare(a.id, b.id))
		})
		for i, p := range ids[:min(mostIDs, len(ids))] {
			enables := func(one row) bool { return one.Decisions[p] }
			for _, scope := range []string{"all", "notice"} {
				given, decided := (&company{rows: rows}).stream(scope).given, (&company{rows: byPurpose[p]}).stream(scope).given
				if len(decided) == 0 {
					continue
				}
				enabled := where(decided, enables)
				e, effective := r.share(decided, enables), r.effectiveRows(decided)
				if effective < leastEffectiveRows {
					e.value, e.missing = nil, "few_effective_rows"
				}
				record := Record{"scope": scope, "kind": p.kind, "basis": p.basis, "id": p.id, "place": int64(i + 1), "n_ids": int64(len(ids)),
					"n_enabled": count(enabled), "n_decided": count(decided), "n_given": count(given), "n_effective": effective,
					"n_sampled": e.nSampled, "enabled": optional(r.total(enabled).value), "decided": optional(r.total(decided).value)}
				e.flags(record, "")
				add(record, e)
			}
		}
	}
}

func (c *company) purposes() []Record {
	var records []Record
	purposes(c.rows, c.recommended, func(record Record, e estimate) {
		e.recommendedBlock(c.recommended, record, "")
		records = append(records, record)
	})
	return records
}

// overallPurposes returns the purposes and vendors of all companies together, with each row weighted as recommended for its
// company.
func overallPurposes(all []*company) []Record {
	var records []Record
	r := reading{extrapolation: "recommended"}
	purposes(allRows(all), r, func(record Record, e estimate) {
		e.block(r, record)
		delete(record, "n")
		records = append(records, record)
	})
	return records
}
