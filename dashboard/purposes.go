package dashboard

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"consentpipeline.io/dashboard/chart"
)

// A Purpose is a purpose or a vendor, with the share of consents that enable it, of the only company or of all together.
type Purpose struct {
	ID       string
	Enabled  int64 // rows
	Decided  int64
	Estimate // the share
}

// A purposeKey names the purposes of one scope, kind and legal basis.
type purposeKey struct{ scope, kind, basis string }

// PurposeCounts are the numbers of consents, in rows, and of purposes behind the purposes that are shown.
type PurposeCounts struct{ Given, IDs int64 }

// A kind is one of the lists of a consent.
type kind struct {
	Slug, Name, Noun, Nouns string
	kind, basis             string // in the marts
	shown                   int    // on the page: those with the most rows
}

// kinds are the switch's positions.
var kinds = []kind{
	{"purpose", "Purposes", "purpose", "purposes", "purpose", "consent", 8},
	{"purpose-li", "by legitimate interest", "purpose", "purposes", "purpose", "legitimate_interest", 8},
	{"vendor", "Vendors", "vendor", "vendors", "vendor", "consent", 6},
	{"vendor-li", "by legitimate interest", "vendor", "vendors", "vendor", "legitimate_interest", 6},
}

const defaultKind = "purpose"

// purposeQueries read the purposes and vendors of the only company, or of all companies together.
func (d *Data) purposeQueries(keys []uuid.UUID) []query {
	d.Purposes, d.PurposeCounts = map[purposeKey][]Purpose{}, map[purposeKey]PurposeCounts{}
	from, args := "analytics.overall_consent_purposes", []any(nil)
	if len(keys) == 1 {
		from, args = `(select *, recommended_estimate as estimate, recommended_sampling_lower as sampling_lower,
			    recommended_sampling_upper as sampling_upper, recommended_process_lower as process_lower,
			    recommended_process_upper as process_upper, recommended_null_because as null_because
			from analytics.consent_purposes where api_key = $1) as purposes`, []any{keys[0]}
	}
	return []query{{"purposes", `
		with purposes as (select *, n_decided as n from ` + from + `)
		select scope, kind, basis, id, n_enabled, n_decided, n_given, n_ids, ` + estimateColumns + `
		from purposes
		order by scope, kind, basis, place`, args,
		func(rows pgx.Rows) error {
			var k purposeKey
			var p Purpose
			var counts PurposeCounts
			var err error
			p.Estimate, err = scanEstimate(rows, &k.scope, &k.kind, &k.basis, &p.ID, &p.Enabled, &p.Decided, &counts.Given, &counts.IDs)
			d.Purposes[k], d.PurposeCounts[k] = append(d.Purposes[k], p), counts
			return err
		}}}
}

func purposeSection(d *Data, s selection) Section {
	at := kinds[slices.IndexFunc(kinds, func(one kind) bool { return one.Slug == s.Kind })]
	key := purposeKey{s.Scope, at.kind, at.basis}
	ranked := rankedPurposes(d.Purposes[key], at.shown)
	section := Section{
		ID: "purposes", Nav: "Purposes", Title: purposeTitle(at, ranked), Term: "def-purposes", Sentence: purposeSentence(d, at, key),
		Explain: fmt.Sprintf("Each dot is the share of consents that enable one %s, of those that enable or disable it, at %s, counting %s. "+
			"By legitimate interest, enabled means that the visitor did not object. The line is its 95%% process interval, the thick bar, if "+
			"switched on, its 95%% sampling interval. Recommended estimates; the extrapolation does not change them.",
			at.Noun, segmentSubject(d), counted(s.Scope)),
		Source: "analytics.overall_consent_purposes",
		Table:  purposeTable(at, ranked),
	}
	if d.only() != nil {
		section.Source = "analytics.consent_purposes"
	} else if d.Filter.isSet() {
		section.Notes = append(section.Notes, "The filter does not apply here: this is "+d.together()+". Choose one company to see its own.")
	}
	if len(ranked) > 0 {
		section.Plots = []Panel{{Plot: purposePlot(at, ranked)}}
	}
	return section
}

// purposeSentence says of how many consents the purposes are, and how many purposes there are beyond those that are shown.
func purposeSentence(d *Data, at kind, key purposeKey) string {
	counts := d.PurposeCounts[key]
	if counts.Given == 0 {
		return ""
	}
	text := plural(counts.Given, "consent", "consents")
	if counts.IDs > int64(at.shown) {
		text += fmt.Sprintf("; shown are the %d of %s %s that the most of them decide", at.shown, whole(counts.IDs), at.Nouns)
	}
	return text + "."
}

// rankedPurposes are the first ones, that is, those with the most rows: the highest share first and those without one last.
func rankedPurposes(all []Purpose, most int) []Purpose {
	ranked := slices.Clone(all[:min(most, len(all))])
	slices.SortStableFunc(ranked, func(a, b Purpose) int {
		switch {
		case a.Value == nil && b.Value == nil:
			return 0
		case a.Value == nil:
			return 1
		case b.Value == nil:
			return -1
		}
		return cmp.Compare(*b.Value, *a.Value)
	})
	return ranked
}

// purposeTitle names the purposes that the most and the fewest consents enable, if they clearly differ.
func purposeTitle(at kind, ranked []Purpose) string {
	basis := ""
	if at.basis != "consent" {
		basis = " by legitimate interest"
	}
	known := slices.DeleteFunc(slices.Clone(ranked), func(p Purpose) bool { return p.Value == nil })
	switch {
	case len(ranked) == 0:
		return fmt.Sprintf("No consent lists its %s%s", at.Nouns, basis)
	case len(known) == 0:
		return fmt.Sprintf("No %s has at least 10 consents that decide it%s", at.Noun, basis)
	case len(known) == 1:
		return fmt.Sprintf("%s of consents enable the only %s%s, %s", withInterval(known[0].Estimate), at.Noun, basis, known[0].ID)
	}
	most, fewest := known[0], known[len(known)-1]
	if !differ(most.Estimate, fewest.Estimate, len(known)-1) {
		return fmt.Sprintf("No %s is clearly enabled more than another%s: %s to %s of the consents that decide it", at.Noun, basis,
			percent(*fewest.Value), percent(*most.Value))
	}
	return fmt.Sprintf("%s is enabled the most%s, by %s of the consents that decide it, and %s the least, by %s", most.ID, basis,
		withInterval(most.Estimate), fewest.ID, withInterval(fewest.Estimate))
}

func purposePlot(at kind, ranked []Purpose) chart.Plot {
	scale := chart.NewScale(1, percent)
	plot := chart.Plot{Name: at.Name, Unit: "share enabled", Scale: scale, HasInner: true,
		Keys: []chart.Key{{Class: "c1", Shape: "dot", Text: "Recommended estimate, 95% interval"}}}
	for _, one := range ranked {
		row := chart.Row{Label: one.ID, Sub: "n\u00a0=\u00a0" + whole(one.Decided), Height: 24}
		if one.Value == nil {
			row.Missing, row.Value = reason(one.Because), none
			plot.Rows = append(plot.Rows, row)
			continue
		}
		row.Value, row.Aside = percent(*one.Value), interval(one.Process, percent)
		if one.Process == nil {
			row.Aside = reason(one.Because)
		}
		row.Marks = []chart.Mark{chart.Interval(scale, 12, *one.Value, one.Sampling, one.Process, "c1",
			estimateTip(one.Estimate, "the recommended estimate", percent))}
		plot.Rows = append(plot.Rows, row)
	}
	return plot
}

// purposeTable has a row per purpose.
func purposeTable(at kind, ranked []Purpose) Table {
	t := Table{Columns: []Column{{capital(at.Noun), "id", false}, {"Consents that decide it", "n_decided", true}, {"that enable it", "n_enabled", true},
		{"Enabled", "estimate", true}, {"95% from", "process_lower", true}, {"to", "process_upper", true}, {"Remark", "null_because", false}}}
	for _, one := range ranked {
		cells := []Cell{textCell(one.ID), wholeCell(one.Decided), wholeCell(one.Enabled), numberCell(one.Value, percent)}
		t.Rows = append(t.Rows, append(append(cells, boundCells(one.Process, percent)...), reasonCell(one.Because)))
	}
	return t
}
