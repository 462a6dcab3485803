package contract

import (
	"fmt"
	"testing"
)

// BenchmarkJudge judges events as an export has them; an operation is a row.
func BenchmarkJudge(b *testing.B) {
	header, _ := eventRow(nil)
	var rows [][]Field
	for i := range 1000 {
		_, fields := eventRow(map[string]Field{
			"EVENT_ID":   text(fmt.Sprintf("91e36d4b-21b5-43a5-90c8-%012x", i)),
			"EVENT_TIME": text(fmt.Sprintf("2025-09-05 01:%02d:%02d.%03d", i/60%60, i%60, i)),
			"PARAMETERS": text(fmt.Sprintf(`{"action": "click", "created": "2025-09-05T01:%02d:%02d.173Z", "updated": "2025-09-05T01:%02[1]d:%02[2]d.6Z", `+
				`"purposes": {"enabled": ["cookies", "analytics-%[3]d"], "disabled": []}, "vendors": {"enabled": [1, 2, 3.5], "disabled": null}}`, i/60%60, i%60, i)),
		})
		rows = append(rows, fields)
	}
	judge, err := NewJudge(Event, header, Evolve)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, ok := judge.Row(rows[i%len(rows)]); !ok || len(judge.Findings()) > 0 {
			b.Fatal(judge.Findings())
		}
	}
}

func BenchmarkTimestamp(b *testing.B) {
	for name, in := range map[string]string{
		"as exported": aTime,
		"ISO":         "2025-09-05T01:14:29.602Z",
		"an offset":   "2025-09-05 01:14:29.602+02:00",
	} {
		b.Run(name, func(b *testing.B) {
			text := []byte(in)
			for b.Loop() {
				if _, reason := parseTimestamp(text); reason != "" {
					b.Fatal(reason)
				}
			}
		})
	}
}

// BenchmarkJSON judges PARAMETERS in which nothing repeats, or everything but the times; an operation is a value of 2 kB.
func BenchmarkJSON(b *testing.B) {
	for name, format := range map[string]string{"distinct": `"c:vendor-%[1]d-%[2]d"`, "repeated": `"c:vendor-%[2]d"`} {
		b.Run(name, func(b *testing.B) {
			header, fields := eventRow(map[string]Field{"PARAMETERS": text("")})
			var values [][]byte
			for i := range 5000 {
				value := fmt.Appendf(nil, `{"created": "2025-09-05T01:%02d:%02d.173Z"`, i/60%60, i%60)
				for _, key := range []string{"purposes", "vendors"} {
					value = fmt.Appendf(value, ",\n  %q: {\n    \"disabled\": [],\n    \"enabled\": [", key)
					for n := range 40 {
						value = append(value, ",\n      "[min(n, 1)^1:]...)
						value = fmt.Appendf(value, format, i, n)
					}
					value = append(value, "\n    ]\n  }"...)
				}
				values = append(values, append(value, "\n}"...))
			}
			judge, err := NewJudge(Event, header, Evolve)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(values[0])))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				for j, name := range header {
					if name == "PARAMETERS" {
						fields[j].Text = values[i%len(values)]
					}
				}
				if _, ok := judge.Row(fields); !ok || len(judge.Findings()) > 0 {
					b.Fatal(judge.Findings())
				}
			}
		})
	}
}

// BenchmarkChoices judges consents of 5 kB with few different choices; an operation is a row.
func BenchmarkChoices(b *testing.B) {
	header, fields := eventRow(map[string]Field{"TYPE": text("consent.given"), "PARAMETERS": text("")})
	var values [][]byte
	for i := range 5000 {
		value := fmt.Appendf(nil, "{\n  \"action\": \"click\",\n  \"created\": \"2025-09-05T01:%02d:%02d.173Z\"", i/60%60, i%60)
		for k, key := range []string{"purposes", "purposes_li", "vendors", "vendors_li"} {
			value = fmt.Appendf(value, ",\n  %q: {\n    \"disabled\": [],\n    \"enabled\": [", key)
			for n := range []int{10, 6, 120, 40}[k] {
				value = append(value, ",\n      "[min(n, 1)^1:]...)
				value = fmt.Appendf(value, `"c:vendor-%d-%d"`, i%7, n)
			}
			value = append(value, "\n    ]\n  }"...)
		}
		values = append(values, append(value, "\n}"...))
	}
	judge, err := NewJudge(Event, header, Evolve)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(values[0])))
	b.ReportAllocs()
	at := 0
	for j, name := range header {
		if name == "PARAMETERS" {
			at = j
		}
	}
	for i := 0; b.Loop(); i++ {
		fields[at].Text = values[i%len(values)]
		if _, ok := judge.Row(fields); !ok || len(judge.Findings()) > 0 {
			b.Fatal(judge.Findings())
		}
	}
}
