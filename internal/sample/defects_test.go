package sample

import (
	"bytes"
	"errors"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/internal/decode/csv"
	"consentpipeline.io/internal/decode/parquet"
	"consentpipeline.io/internal/decode/record"
)

// open opens a file of an export as ingestion does.
func open(t *testing.T, path string, content []byte) record.Reader {
	t.Helper()
	if strings.HasSuffix(path, ".csv") {
		r, err := csv.NewReader(bytes.NewReader(content), &record.Notes{})
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		return r
	}
	r, err := parquet.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return r
}

// judge counts the findings of an export by their code, and the rows that have any.
func judge(t *testing.T, files map[string][]byte) (findings map[string]int64, rejected, warned int64) {
	t.Helper()
	findings = map[string]int64{}
	for path, content := range files {
		if path == "README.md" {
			continue
		}
		reader := open(t, path, content)
		c, err := contract.Identify(reader.Columns())
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		j, err := contract.NewJudge(c, reader.Columns(), contract.Freeze)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		for {
			record, err := reader.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			if record.Broken != nil {
				findings[record.Broken.Code]++
				rejected++
				continue
			}
			_, ok := j.Row(record.Fields)
			for _, finding := range j.Findings() {
				findings[finding.Code]++
			}
			switch {
			case !ok:
				rejected++
			case len(j.Findings()) > 0:
				warned++
			}
		}
	}
	return findings, rejected, warned
}

func TestExportWithoutDefectsHasNoFindings(t *testing.T) {
	dir, _ := generate(t, func(o *Options) { o.UserID = true })
	if findings, _, _ := judge(t, read(t, dir)); len(findings) > 0 {
		t.Errorf("findings in a clean export: %v", findings)
	}
}

func TestFindingsMatchDefects(t *testing.T) {
	for _, format := range []Format{FormatCSV, FormatParquet} {
		t.Run(string(format), func(t *testing.T) {
			const ratio = 0.2
			dir, s := generate(t, func(o *Options) { o.Format, o.Dirty, o.Companies, o.Events = format, ratio, 3, 4_000 })
			findings, rejected, warned := judge(t, read(t, dir))

			var spoiled, wantRejected, wantWarned int64
			for _, d := range s.Defects {
				spoiled += d.Events
				want := d.Events
				switch d.Effect {
				case Rejected:
					wantRejected += want
				case Warned:
					wantWarned += want
				case Loaded:
					want = 0
				}
				if findings[d.Code] != want {
					t.Errorf("%s: %d findings, want %d", d.Code, findings[d.Code], want)
				}
				delete(findings, d.Code)
			}
			for code, n := range findings {
				t.Errorf("%s: %d unexpected findings", code, n)
			}
			if rejected != wantRejected || warned != wantWarned {
				t.Errorf("%d rows rejected and %d warned, want %d and %d", rejected, warned, wantRejected, wantWarned)
			}
			// Four standard errors of a share.
			share, margin := float64(spoiled)/float64(s.Events), 4*math.Sqrt(ratio*(1-ratio)/float64(s.Events))
			if math.Abs(share-ratio) > margin {
				t.Errorf("a share of %.4f has a defect, want %v ± %.4f", share, ratio, margin)
			}

			made := map[string]bool{}
			for _, d := range s.Defects {
				made[d.Code] = true
			}
			for _, d := range allDefects {
				if !made[d.code] && (!d.csvOnly || format == FormatCSV) {
					t.Errorf("no event has %s", d.code)
				}
			}
		})
	}
}

// Every way in which the contract can find fault with a column of events has a defect, but for those in which an
// earlier one of its checks is the same for all columns.
func TestEveryCheckedColumnHasDefects(t *testing.T) {
	for _, column := range contract.Event.Columns {
		var want []string
		if column.NotNull {
			want = append(want, "null")
		}
		if column.Type != contract.TypeText && column.Type != contract.TypeExtra && column.Name != "" {
			want = append(want, "malformed")
		}
		if column.Type == contract.TypeTimestamp && column.Name != "" {
			want = append(want, "out_of_range")
		}
		if column.Known != nil {
			want = append(want, "unknown")
		}
		for _, problem := range want {
			code := column.SQL + "_" + problem
			if !slices.ContainsFunc(allDefects, func(d defect) bool { return d.code == code }) {
				t.Errorf("no defect raises %s", code)
			}
		}
	}
}

func TestDefectsLeaveOtherRowsUnchanged(t *testing.T) {
	change := func(o *Options) { o.Format, o.Companies, o.Events = FormatCSV, 2, 3_000 }
	clean, _ := generate(t, change)
	dirty, s := generate(t, func(o *Options) { change(o); o.Dirty = 0.1 })
	want, got := read(t, clean), read(t, dirty)
	var differ, spoiled int64
	for i := range 2 {
		path := "events/csv/events-company-" + strconv.Itoa(i+1) + ".csv"
		a, b := open(t, path, want[path]), open(t, path, got[path])
		for {
			x, errX := a.Next()
			y, errY := b.Next()
			if errX != nil || errY != nil {
				if !errors.Is(errX, io.EOF) || !errors.Is(errY, io.EOF) {
					t.Fatalf("%s ends with %v in one export and with %v in the other", path, errX, errY)
				}
				break
			}
			if !bytes.Equal(x.Raw, y.Raw) {
				differ++
			}
		}
	}
	for _, d := range s.Defects {
		spoiled += d.Events
	}
	if differ != spoiled || spoiled == 0 {
		t.Errorf("%d rows differ from the clean export, and %d have a defect", differ, spoiled)
	}
}
