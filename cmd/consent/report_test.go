package main

import (
	"encoding/csv"
	"strconv"
	"strings"

	"consentpipeline.io/dashboard"
)

// reports checks that `consent report` has the numbers of the marts, for each company and for all together, in each scope.
func (p pageCheck) reports(database string) {
	p.t.Helper()
	at := func(args ...string) outcome {
		return consent(p.t, append([]string{"report", "--database-url", database, "--database-wait", "0s"}, args...)...)
	}
	columns := []string{"estimate", "sampling_lower", "sampling_upper", "process_lower", "process_upper"}
	for _, company := range append(p.run.Companies, *p.run.Overall) {
		if company.Rows == 0 {
			continue
		}
		for _, scope := range []string{"notice", "all"} {
			args, table, prefix := []string{"--scope", scope, "-o", "json"}, "overall_consent_metrics where $1::text is null", ""
			if company.APIKey != nil {
				args = append(args, (*company.APIKey)[:8])
				table, prefix = "company_consent_rates where api_key = $1::uuid", "recommended_"
			}
			r := decode[dashboard.Report](p.t, at(args...))
			if r.Company != company.Company || r.Rows != company.Rows || r.Notice != "" {
				p.t.Errorf("the report of %s is of %s with %d rows of %d, %q", company.Company, r.Company, r.Rows, company.Rows, r.Notice)
			}
			rates := 0
			for _, n := range r.Numbers {
				metric := map[bool]string{true: "metric", false: "rate"}[company.APIKey == nil]
				if n.Section != "rates" && n.Section != "statuses" {
					continue
				}
				rates++
				for i, value := range []*float64{n.Estimate, n.SamplingLower, n.SamplingUpper, n.ProcessLower, n.ProcessUpper} {
					text := ""
					if value != nil {
						text = strconv.FormatFloat(*value, 'g', -1, 64)
					}
					p.same(strings.Join([]string{"report", company.Company, scope, n.Metric, columns[i]}, " "), text,
						p.one("select "+prefix+columns[i]+" from analytics."+table+" and scope = $2 and "+metric+" = $3", company.APIKey, scope, n.Metric))
				}
			}
			if rates != 11 {
				p.t.Errorf("the report of %s has %d rates and shares, want 11", company.Company, rates)
			}
		}
	}
	p.reportForms(at)
	p.reportErrors(at)
}

// reportForms checks the table and the CSV file of one company.
func (p pageCheck) reportForms(at func(...string) outcome) {
	p.t.Helper()
	company := p.run.Companies[0]
	o := at(strings.ToUpper(company.Company), "-o", "csv")
	records, err := csv.NewReader(strings.NewReader(o.stdout)).ReadAll()
	if err != nil || o.code != 0 || len(records) < 20 || records[1][4] != "conversion" {
		p.t.Fatalf("exit code %d: %s\n%s (%v)", o.code, o.stderr, o.stdout, err)
	}
	p.same("the CSV file", records[1][9], company.Conversion)
	r := decode[dashboard.Report](p.t, at(company.Company, "--by", "device", "-o", "json"))
	segments := 0
	for _, n := range r.Numbers {
		if n.Section == "segments" {
			segments++
			text := ""
			if n.Estimate != nil {
				text = strconv.FormatFloat(*n.Estimate, 'g', -1, 64)
			}
			p.same("segment "+n.Metric+" "+n.Value, text, p.one(`select recommended_estimate from analytics.consent_segments
				where api_key = $1::uuid and scope = 'notice' and dimension = 'device' and rate = $2 and value = $3`, company.APIKey, n.Metric, n.Value))
		}
	}
	if segments < 4 {
		p.t.Errorf("the report has %d rates of devices", segments)
	}
	o = at(company.Company, "--by", "country")
	for _, want := range []string{company.Company, *company.APIKey, "RATE", "conversion", "SHARE OF EVENTS BY DEVICE", "CONVERSION BY COUNTRY",
		"Before you quote a number:"} {
		if o.code != 0 || !strings.Contains(o.stdout, want) {
			p.t.Errorf("exit code %d: the report lacks %q:\n%s", o.code, want, o.stdout)
		}
	}
}

// reportErrors checks what is said where the company or a flag is not known.
func (p pageCheck) reportErrors(at func(...string) outcome) {
	p.t.Helper()
	first, second := p.run.Companies[0], p.run.Companies[1]
	rename := func(key, name string) {
		if _, err := p.conn.Exec(p.t.Context(), "update analytics.company_performance set company_name = $2 where api_key = $1", key, name); err != nil {
			p.t.Fatal(err)
		}
	}
	rename(*second.APIKey, first.Company)
	defer rename(*second.APIKey, second.Company)
	for want, args := range map[string][]string{
		"means more than one company: give the key of one: " + first.Company + " (": {first.Company},
		`there is no company "nobody" with events`:                                  {"nobody"},
		"such as " + first.Company:                                                  {first.Company[:5]},
		"COMPANY is empty":                                                          {" "},
		"expected notice or all":                                                    {"--scope", "some"},
		"expected one of device, browser":                                           {"--by", "shoe size"},
		"expected table, json or csv":                                               {"-o", "xml"},
	} {
		if o := at(args...); o.code != 78 || !strings.Contains(o.stderr, want) {
			p.t.Errorf("%v: exit code %d: %s, want %q", args, o.code, o.stderr, want)
		}
	}
	if o := consent(p.t, "version", "-o", "csv"); o.code != 78 || !strings.Contains(o.stderr, "expected table or json") {
		p.t.Errorf("version as CSV: exit code %d: %s", o.code, o.stderr)
	}
}
