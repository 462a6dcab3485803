package main

import (
	"fmt"
	"regexp"
	"strings"
)

// Comments before a block of code. A query's comment names the data of its result; the next block of the page has the
// result.
const (
	onSample   = "query on: input/"
	onReal     = "query on: the real export"
	printedRun = "printed by: make run"
)

// A query is a block of a page with the block of its result.
type query struct {
	real   bool
	sql    string
	result block
}

// queries returns the queries of a page that have a result.
func (p *page) queries() (queries []query, problems []problem) {
	for i, b := range p.blocks {
		switch {
		case b.marker != onSample && b.marker != onReal:
		case b.info != "sql" || i+1 == len(p.blocks) || p.blocks[i+1].info != "text":
			problems = append(problems, problem{p.path, b.line - 1,
				"a query is a block ```sql, followed by a block ```text with its result"})
		default:
			queries = append(queries, query{real: b.marker == onReal, sql: b.text, result: p.blocks[i+1]})
		}
	}
	return queries, problems
}

// number matches a number, but not a part of a word such as the 2 of w2.
var number = regexp.MustCompile(`(?:^|[^\w.])(\d[\d,]*(?:\.\d+)?)`)

func numbersIn(text string) (found []string) {
	for _, match := range number.FindAllStringSubmatch(text, -1) {
		found = append(found, strings.ReplaceAll(strings.TrimRight(match[1], ","), ",", ""))
	}
	return found
}

// checkNumbers finds numbers in the text of a page with queries that are in no result under the same heading or, where
// a heading has no results (a summary), in no result of the page. Write other numbers as words or as code.
func (p *page) checkNumbers() (problems []problem) {
	queries, problems := p.queries()
	if len(queries) == 0 {
		return problems
	}
	section := func(line int) (n int) { // the number of headings up to the line
		for n < len(p.headings) && p.headings[n] <= line {
			n++
		}
		return n
	}
	all, bySection := map[string]bool{}, map[int]map[string]bool{}
	for _, q := range queries {
		n := section(q.result.line)
		if bySection[n] == nil {
			bySection[n] = map[string]bool{}
		}
		for _, found := range numbersIn(q.result.text) {
			all[found], bySection[n][found] = true, true
		}
	}
	for _, s := range p.prose {
		results, where := bySection[section(s.line)], "under this heading"
		if results == nil {
			results, where = all, "of this page"
		}
		for _, n := range numbersIn(s.text) {
			if !results[n] {
				problems = append(problems, problem{p.path, s.line, fmt.Sprintf("the number %s is in no result %s", n, where)})
			}
		}
	}
	return problems
}
