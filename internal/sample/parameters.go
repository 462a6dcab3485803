package sample

import (
	"strconv"
	"strings"
)

// A list has the entries of a JSON list, one per line, in one text, so that its first or last entries are a slice of it.
type list struct {
	text   []byte
	begins []int // of the entries
	ends   []int
}

// append appends the list of the entries from one up to another.
func (l *list) append(dst []byte, from, to int) []byte {
	if from == to {
		return append(dst, "[]"...)
	}
	dst = append(dst, "[\n      "...)
	dst = append(dst, l.text[l.begins[from]:l.ends[to-1]]...)
	return append(dst, "\n    ]"...)
}

func newList(entries []string, quote string) *list {
	l := &list{}
	for i, entry := range entries {
		if i > 0 {
			l.text = append(l.text, ",\n      "...)
		}
		l.begins = append(l.begins, len(l.text))
		l.text = append(l.text, strings.ReplaceAll(entry, `"`, quote)...)
		l.ends = append(l.ends, len(l.text))
	}
	return l
}

// names are the keys of a notice's four lists.
var names = [4]string{"purposes", "purposes_li", "vendors", "vendors_li"}

// A notice is the content of a consent notice. Its lists are encoded as JSON: for apps with all vendors as strings, for
// the web with those of the vendor list as numbers.
type notice struct {
	sizes [4]int
	asked [2][]byte   // all of consent.asked, by SDK
	lists [2][4]*list // of consent.given, by SDK
}

// newNotice makes a random notice of the given shape. A CSV file needs the quotes of JSON doubled; they are doubled here,
// once, and not in each row.
func newNotice(r *random, p *phrases, s shape, position string) *notice {
	n := &notice{sizes: [4]int{s.purposes, s.purposesLI, s.vendors, s.vendorsLI}}
	purposes := inventPurposes(r, max(s.purposes, s.purposesLI))
	vendors := inventVendors(r, max(s.vendors, s.vendorsLI))
	for _, sdk := range []sdk{web, app} {
		text := p.text("{\n  \"position\": \"" + position + "\"")
		for i, size := range n.sizes {
			entries := purposes
			if i >= 2 {
				entries = vendors
			}
			quoted := make([]string, size)
			for j, entry := range entries[:size] {
				quoted[j] = entry
				if sdk == app || entry[0] > '9' {
					quoted[j] = `"` + entry + `"`
				}
			}
			n.lists[sdk][i] = newList(quoted, p.quote)
			text = append(text, p.text(",\n  \""+names[i]+"\": ")...)
			if size == 0 {
				text = append(text, "[]"...)
				continue
			}
			text = append(text, p.text("[\n    "+strings.Join(quoted, ",\n    ")+"\n  ]")...)
		}
		n.asked[sdk] = append(text, "\n}"...)
	}
	return n
}

// usualPurposes are those that most notices have; the others are a company's own.
var usualPurposes = []string{
	"cookies", "choose_ads", "profile_for_ads", "measure_ads", "personal_ads", "profile_for_content",
	"personal_content", "measure_content", "study_audiences", "develop_services", "limited_content",
	"precise_location", "read_device", "location_studies",
}

func inventPurposes(r *random, n int) []string {
	purposes := append([]string(nil), usualPurposes[:min(n, len(usualPurposes))]...)
	for len(purposes) < n {
		purposes = append(purposes, invent(r)+"-"+r.word(8))
	}
	r.Shuffle(n, func(i, j int) { purposes[i], purposes[j] = purposes[j], purposes[i] })
	return purposes
}

// inventVendors invents a company's own vendors, up to forty of them, and numbers for those beyond, as in a list of
// vendors that all companies share.
func inventVendors(r *random, n int) []string {
	vendors := make([]string, 0, n)
	number := 1000
	for i := range n {
		if i < 40 {
			vendors = append(vendors, "c:"+invent(r)+"-"+r.word(8))
			continue
		}
		number += 1 + r.IntN(5)
		vendors = append(vendors, strconv.Itoa(number))
	}
	r.Shuffle(n, func(i, j int) { vendors[i], vendors[j] = vendors[j], vendors[i] })
	return vendors
}

// invent makes a name without a meaning.
func invent(r *random) string {
	syllables := []string{"ba", "do", "fi", "ga", "ko", "lu", "mer", "na", "pix", "qua", "ro", "sel", "ta", "vo", "wen", "zu"}
	var name strings.Builder
	for range 2 + r.IntN(3) {
		name.WriteString(syllables[r.IntN(len(syllables))])
	}
	return name.String()
}

// A phrases holds the pieces of JSON that do not depend on a notice, with quotes as the file has them.
type phrases struct {
	quote    string
	disabled [4][]byte // "purposes": { "disabled":
	enabled  []byte    // "enabled":
	current  []byte    // the quote before a key
	previous []byte    // "previous_
	imported []byte    // "from_euconsent": false
	action   []byte
	created  []byte
	updated  []byte

	// All of the PARAMETERS of events other than consent, with their chances; nil is an event without.
	settings weighted[[]byte]
	pageview weighted[[]byte]
}

func newPhrases(format Format) *phrases {
	p := &phrases{quote: `"`}
	if format == FormatCSV {
		p.quote = `""`
	}
	for i, name := range names {
		p.disabled[i] = p.text(name + "\": {\n    \"disabled\": ")
	}
	p.enabled = p.text(",\n    \"enabled\": ")
	p.current = p.text("  \"")
	p.previous = p.text("  \"previous_")
	p.imported = p.text("  \"from_euconsent\": false,\n")
	p.action = p.text("  \"action\": \"")
	p.created = p.text("  \"created\": \"")
	p.updated = p.text("  \"updated\": \"")

	p.settings.add(p.text("{\n  \"action\": \"preferences.shownpurposes\"\n}"), 0.77)
	p.settings.add(p.text("{\n  \"action\": \"preferences.shownvendors\"\n}"), 0.08)
	p.settings.add(p.text("{\n  \"action\": \"preferences.purposechanged\",\n  \"category\": true,\n  \"categoryId\": \"n4Wq7x\"\n}"), 0.07)
	p.settings.add(p.text("{\n  \"action\": \"preferences.purposechanged\",\n  \"category\": false,\n  \"purposeId\": \"cookies\"\n}"), 0.06)
	p.settings.add(p.text("{\n  \"action\": \"preferences.vendorchanged\"\n}"), 0.02)
	p.pageview.add(nil, 0.98)
	p.pageview.add(p.text("{\n  \"features\": [\n    \"get-user-status\"\n  ]\n}"), 0.016)
	p.pageview.add(p.text("{\n  \"gcm_error\": \"load\"\n}"), 0.004)
	return p
}

func (p *phrases) text(json string) []byte { return []byte(strings.ReplaceAll(json, `"`, p.quote)) }

// A choice is the content of a consent.given.
type choice struct {
	notice           *notice
	sdk              sdk
	action           string // empty if there is none
	created, updated int64  // milliseconds since 1970; sent by the web SDK only
	enabled          [4]int // of each list how many, from its beginning
	previous         bool   // an app that had all of it enabled before
}

// appendChoice appends the PARAMETERS of a consent.given.
func (p *phrases) appendChoice(dst []byte, c *choice) []byte {
	dst = append(dst, "{\n"...)
	if c.action != "" {
		dst = append(append(dst, p.action...), c.action...)
		dst = append(append(dst, p.quote...), ",\n"...)
	}
	lists := &c.notice.lists[c.sdk]
	if c.sdk == app {
		for i := range names {
			before := 0
			if c.previous {
				before = c.notice.sizes[i]
			}
			dst = append(p.appendObject(dst, p.previous, i, lists[i], before, before), ",\n"...)
		}
	} else {
		dst = p.appendTime(append(dst, p.created...), c.created)
		dst = append(dst, p.imported...)
	}
	for i := range names {
		if i == 2 && c.sdk == web {
			dst = p.appendTime(append(dst, p.updated...), c.updated)
		}
		dst = p.appendObject(dst, p.current, i, lists[i], c.enabled[i], c.notice.sizes[i])
		if i < len(names)-1 {
			dst = append(dst, ",\n"...)
		}
	}
	return append(dst, "\n}"...)
}

// appendObject appends a key and which entries of its list are enabled: the first ones; those from there to the size
// are disabled.
func (p *phrases) appendObject(dst, prefix []byte, key int, l *list, enabled, size int) []byte {
	dst = append(append(dst, prefix...), p.disabled[key]...)
	dst = append(l.append(dst, enabled, size), p.enabled...)
	return append(l.append(dst, 0, enabled), "\n  }"...)
}

func (p *phrases) appendTime(dst []byte, milliseconds int64) []byte {
	dst = append(appendTime(dst, milliseconds, 'T'), 'Z')
	return append(append(dst, p.quote...), ",\n"...)
}
