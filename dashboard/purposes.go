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
	Basis    string
	Enabled  int64 // rows
	Decided  int64
	Estimate // the share
}

// A purposeKey names the purposes of one scope and kind.
type purposeKey struct{ scope, kind string }

// PurposeCounts are the numbers of consents and of purposes behind the purposes that are shown.
type PurposeCounts struct {
	Given int64            // rows of consents
	IDs   map[string]int64 // by basis: how many purposes the consents decide
}

// A kind is one of the lists of a consent.
type kind struct {
	Slug, Name, Noun, Nouns string
	shown                   int // on the page, of each basis: those with the most rows
}

// kinds are the switch's positions.
var kinds = []kind{{"purpose", "Purposes", "purpose", "purposes", 10}, {"vendor", "Vendors", "vendor", "vendors", 5}}

const defaultKind = "purpose"

// bases are the legal bases.
var bases = []struct{ slug, name string }{{"consent", "Consent"}, {"legitimate_interest", "Legitimate interest"}}

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
			var given, ids int64
			var err error
			p.Estimate, err = scanEstimate(rows, &k.scope, &k.kind, &p.Basis, &p.ID, &p.Enabled, &p.Decided, &given, &ids)
			d.Purposes[k] = append(d.Purposes[k], p)
			if d.PurposeCounts[k].IDs == nil {
				d.PurposeCounts[k] = PurposeCounts{Given: given, IDs: map[string]int64{}}
			}
			d.PurposeCounts[k].IDs[p.Basis] = ids
			return err
		}}}
}

func purposeSection(d *Data, s selection) Section {
	key := purposeKey{s.Scope, s.Kind}
	at := kinds[slices.IndexFunc(kinds, func(one kind) bool { return one.Slug == s.Kind })]
	section := Section{
		ID: "purposes", Nav: "Purposes", Title: purposeTitle(d, at, key), Term: "def-purposes", Sentence: purposeSentence(d, at, key),
		Explain: fmt.Sprintf("Each dot is the share of consents that enable one %s, of those that enable or disable it, at %s, counting %s. "+
			"By legitimate interest, enabled means that the visitor did not object. The line is its 95%% process interval, the thick bar, if "+
			"switched on, its 95%% sampling interval. Recommended estimates; the extrapolation does not change them.",
			at.Noun, segmentSubject(d), counted(s.Scope)),
		Source:  "analytics.overall_consent_purposes",
		Columns: true,
		Table:   purposeTable(d, at, key),
	}
	if d.only() != nil {
		section.Source = "analytics.consent_purposes"
	} else if d.Filter.isSet() {
		section.Notes = append(section.Notes, "The filter does not apply here: this is "+d.together()+". Choose one company to see its own.")
	}
	for _, basis := range bases {
		if ranked := rankedPurposes(d.Purposes[key], basis.slug, at.shown); len(ranked) > 0 {
			section.Plots = append(section.Plots, Panel{Heading: basis.name, Plot: purposePlot(at, basis.name, ranked)})
		}
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
	var more []string
	for _, basis := range bases {
		if counts.IDs[basis.slug] > int64(at.shown) {
			more = append(more, whole(counts.IDs[basis.slug])+" by "+lower(basis.name))
		}
	}
	if len(more) > 0 {
		text += fmt.Sprintf("; shown are the %d %s that the most consents decide, of %s", at.shown, at.Nouns, list(more))
	}
	return text + "."
}

// rankedPurposes are the first ones of a basis, that is, those with the most rows: the highest share first and those without one
// last.
func rankedPurposes(all []Purpose, basis string, most int) []Purpose {
	ranked := slices.DeleteFunc(slices.Clone(all), func(p Purpose) bool { return p.Basis != basis })
	ranked = ranked[:min(most, len(ranked))]
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
func purposeTitle(d *Data, at kind, key purposeKey) string {
	known := slices.DeleteFunc(rankedPurposes(d.Purposes[key], "consent", at.shown), func(p Purpose) bool { return p.Value == nil })
	switch {
	case len(d.Purposes[key]) == 0:
		return fmt.Sprintf("No consent lists its %s", at.Nouns)
	case len(known) == 0 && !slices.ContainsFunc(d.Purposes[key], func(p Purpose) bool { return p.Basis == "consent" }):
		return fmt.Sprintf("Consents list %s of legitimate interest only", at.Nouns)
	case len(known) == 0:
		return fmt.Sprintf("No %s has at least 10 consents that decide it", at.Noun)
	case len(known) == 1:
		return fmt.Sprintf("%s of consents enable the only %s, %s", withInterval(known[0].Estimate), at.Noun, known[0].ID)
	}
	most, fewest := known[0], known[len(known)-1]
	if !differ(most.Estimate, fewest.Estimate, len(known)-1) {
		return fmt.Sprintf("No %s is clearly enabled more than another: %s to %s of the consents that decide it", at.Noun, percent(*fewest.Value), percent(*most.Value))
	}
	return fmt.Sprintf("%s is enabled the most, by %s of the consents that decide it, and %s the least, by %s", most.ID, withInterval(most.Estimate),
		fewest.ID, withInterval(fewest.Estimate))
}

func purposePlot(at kind, basis string, ranked []Purpose) chart.Plot {
	scale := chart.NewScale(1, percent)
	plot := chart.Plot{Name: at.Name + " by " + lower(basis), Unit: "share enabled", Scale: scale, HasInner: true,
		Keys: []chart.Key{{Class: "c1", Shape: "dot", Text: "Recommended estimate, 95% interval"}}}
	for _, one := range ranked {
		row := chart.Row{Label: one.ID, Sub: plural(one.Decided, "consent", "consents"), Height: 24}
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

// purposeTable has a row per basis and purpose.
func purposeTable(d *Data, at kind, key purposeKey) Table {
	t := Table{Columns: []Column{{"Basis", "basis", false}, {capital(at.Noun), "id", false}, {"Consents that decide it", "n_decided", true},
		{"that enable it", "n_enabled", true}, {"Enabled", "estimate", true},
		{"95% from", "process_lower", true}, {"to", "process_upper", true},
		{"Remark", "null_because", false}}}
	for _, basis := range bases {
		for _, one := range rankedPurposes(d.Purposes[key], basis.slug, at.shown) {
			cells := []Cell{{Text: basis.name, Raw: basis.slug}, textCell(one.ID), wholeCell(one.Decided), wholeCell(one.Enabled),
				numberCell(one.Value, percent)}
			cells = append(cells, boundCells(one.Process, percent)...)
			t.Rows = append(t.Rows, append(cells, reasonCell(one.Because)))
		}
	}
	return t
}
