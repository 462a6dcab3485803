package contract

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	anID  = "91e36d4b-21b5-43a5-90c8-229b61ed22f2"
	aKey  = "49af23d9-0cad-4d42-8adc-744791443345"
	aTime = "2025-09-05 01:14:29.602"
	aHour = "2025-09-05 01:00:00.000"
)

// eventRow is a good event as a CSV file gives it, with some columns changed.
func eventRow(changes map[string]Field) (header []string, fields []Field) {
	good := []struct{ name, value string }{
		{"EVENT_ID", anID}, {"TYPE", "pageview"}, {"RATE", "0.1"}, {"PARAMETERS", `{"action": "click"}`},
		{"EVENT_TIME", aTime}, {"WINDOW_START", aHour}, {"APIKEY", aKey}, {"CONSENT", "full opt-in"}, {"COUNT", "10"},
		{"EXPERIMENT", "a"}, {"SDK_TYPE", "sdk-web"}, {"DOMAIN", "example.org"}, {"DEPLOYMENT_ID", "d"},
		{"COUNTRY", `"ES"`}, {"REGION", `"CM"`}, {"BROWSER_FAMILY", "Chrome"}, {"DEVICE_TYPE", "desktop"}, {"USER_ID", "u"},
	}
	for _, column := range good {
		field := Field{Kind: Text, Text: []byte(column.value)}
		if change, ok := changes[column.name]; ok {
			field = change
		}
		header = append(header, column.name)
		fields = append(fields, field)
	}
	for name, field := range changes {
		if Event.index(name) < 0 {
			header = append(header, name)
			fields = append(fields, field)
		}
	}
	return header, fields
}

func text(s string) Field { return Field{Kind: Text, Text: []byte(s)} }

// judged is the result of judging a row, in a form that compares and prints well.
func judged(t *testing.T, drift Drift, header []string, fields []Field) (values map[string]string, findings []string, ok bool) {
	t.Helper()
	judge, err := NewJudge(Event, header, drift)
	if err != nil {
		t.Fatal(err)
	}
	row, ok := judge.Row(fields)
	values = map[string]string{}
	for i, v := range row {
		column := Event.Columns[i]
		switch {
		case !v.Valid:
		case column.Type == TypeUUID:
			values[column.SQL] = fmt.Sprintf("%x", v.UUID)
		case column.Type == TypeTimestamp:
			values[column.SQL] = time.UnixMicro(v.Int).UTC().Format("2006-01-02T15:04:05.999999")
		case column.Type == TypeInteger:
			values[column.SQL] = fmt.Sprint(v.Int)
		case column.Type == TypeNumber:
			values[column.SQL] = fmt.Sprint(v.Float)
		default:
			values[column.SQL] = string(v.Text)
		}
	}
	for _, f := range judge.Findings() {
		findings = append(findings, string(f.Severity)+" "+f.Code)
	}
	return values, findings, ok
}

func TestValidRow(t *testing.T) {
	header, fields := eventRow(nil)
	values, findings, ok := judged(t, Evolve, header, fields)
	if !ok || len(findings) > 0 {
		t.Fatalf("rejected, or with findings: %v", findings)
	}
	want := map[string]string{
		"event_id": strings.ReplaceAll(anID, "-", ""), "type": "pageview", "rate": "0.1", "parameters": `{"action": "click"}`,
		"event_time": "2025-09-05T01:14:29.602", "window_start": "2025-09-05T01:00:00", "api_key": strings.ReplaceAll(aKey, "-", ""),
		"consent": "full opt-in", "count": "10", "experiment": "a", "sdk_type": "sdk-web", "domain": "example.org",
		"deployment_id": "d", "country": "ES", "region": "CM", "browser_family": "Chrome", "device_type": "desktop",
		"user_id": "u", "action": "click",
	}
	for column, value := range want {
		if values[column] != value {
			t.Errorf("%s is %q, want %q", column, values[column], value)
		}
	}
	if len(values) != len(want) {
		t.Errorf("values are %v", values)
	}
}

// TestContractTable checks each cell of the contract's table: what a null and what a malformed value does, for each
// column.
func TestContractTable(t *testing.T) {
	null := Field{}
	broken := text("a\x00b")
	for name, c := range map[string]struct {
		column  string
		field   Field
		reject  bool
		finding string
		value   string // of the column, if the row is loaded
	}{
		"EVENT_ID null":                   {"EVENT_ID", null, true, "event_id_null", ""},
		"EVENT_ID malformed":              {"EVENT_ID", text("91e36d4b"), true, "event_id_malformed", ""},
		"EVENT_ID as a number":            {"EVENT_ID", Field{Kind: Integer, Int: 7}, true, "event_id_malformed", ""},
		"APIKEY null":                     {"APIKEY", text(""), true, "api_key_null", ""},
		"APIKEY malformed":                {"APIKEY", text(strings.Replace(aKey, "4", "g", 1)), true, "api_key_malformed", ""},
		"APIKEY in capitals":              {"APIKEY", text(strings.ToUpper(aKey)), false, "", strings.ReplaceAll(aKey, "-", "")},
		"TYPE null":                       {"TYPE", null, true, "type_null", ""},
		"TYPE unknown":                    {"TYPE", text("consent.lost"), false, "type_unknown", "consent.lost"},
		"TYPE with a NUL":                 {"TYPE", broken, true, "type_nul_byte", ""},
		"TYPE not UTF-8":                  {"TYPE", text("caf\xe9"), true, "type_invalid_utf8", ""},
		"EVENT_TIME null":                 {"EVENT_TIME", null, true, "event_time_null", ""},
		"EVENT_TIME malformed":            {"EVENT_TIME", text("2025-13-05 01:00:00"), true, "event_time_malformed", ""},
		"EVENT_TIME before 2000":          {"EVENT_TIME", text("1999-12-31 23:59:59.999999"), true, "event_time_out_of_range", ""},
		"EVENT_TIME after 2100":           {"EVENT_TIME", text("2101-01-01 00:00:00"), true, "event_time_out_of_range", ""},
		"EVENT_TIME as an instant":        {"EVENT_TIME", Field{Kind: Instant, Int: 1757034869602000}, false, "", "2025-09-05T01:14:29.602"},
		"EVENT_TIME as a number":          {"EVENT_TIME", Field{Kind: Integer, Int: 1757034869}, true, "event_time_malformed", ""},
		"COUNT null":                      {"COUNT", null, false, "", ""},
		"COUNT malformed":                 {"COUNT", text("ten"), true, "count_malformed", ""},
		"COUNT not whole":                 {"COUNT", text("1.5"), true, "count_malformed", ""},
		"COUNT too large":                 {"COUNT", text("9223372036854775808"), true, "count_malformed", ""},
		"COUNT below 1":                   {"COUNT", text("-3"), false, "", "-3"},
		"COUNT zero":                      {"COUNT", text("0"), false, "", "0"},
		"COUNT with a point":              {"COUNT", text("10.0"), false, "", "10"},
		"COUNT as a whole double":         {"COUNT", Field{Kind: Number, Float: 10}, false, "", "10"},
		"COUNT as a broken double":        {"COUNT", Field{Kind: Number, Float: 10.5}, true, "count_malformed", ""},
		"COUNT with blanks":               {"COUNT", text(" 10 "), false, "", "10"},
		"RATE null":                       {"RATE", null, false, "", ""},
		"RATE malformed":                  {"RATE", text("often"), false, "rate_malformed", ""},
		"RATE NaN":                        {"RATE", text("NaN"), false, "rate_malformed", ""},
		"RATE infinite":                   {"RATE", Field{Kind: Number, Float: math.Inf(1)}, false, "rate_malformed", ""},
		"RATE hexadecimal":                {"RATE", text("0x1p-2"), false, "rate_malformed", ""},
		"RATE zero is loaded":             {"RATE", text("0"), false, "", "0"},
		"RATE above 1 is loaded":          {"RATE", text("3"), false, "", "3"},
		"RATE keeps float32 noise":        {"RATE", text("0.1000000015"), false, "", "0.1000000015"},
		"RATE as an integer":              {"RATE", Field{Kind: Integer, Int: 1}, false, "", "1"},
		"WINDOW_START null":               {"WINDOW_START", null, false, "", ""},
		"WINDOW_START malformed":          {"WINDOW_START", text("noon"), false, "window_start_malformed", ""},
		"WINDOW_START not the hour":       {"WINDOW_START", text("2025-09-05 02:00:00"), false, "window_start_not_event_hour", "2025-09-05T02:00:00"},
		"PARAMETERS null":                 {"PARAMETERS", null, false, "", ""},
		"PARAMETERS malformed":            {"PARAMETERS", text(`{"a": }`), false, "parameters_malformed", ""},
		"PARAMETERS with a NUL":           {"PARAMETERS", broken, false, "parameters_nul_byte", ""},
		"CONSENT null":                    {"CONSENT", null, false, "", ""},
		"CONSENT unknown":                 {"CONSENT", text("maybe"), false, "consent_unknown", "maybe"},
		"CONSENT not UTF-8":               {"CONSENT", text("\xff"), false, "consent_invalid_utf8", ""},
		"EXPERIMENT null":                 {"EXPERIMENT", null, false, "", ""},
		"EXPERIMENT as a double":          {"EXPERIMENT", Field{Kind: Number, Float: 1.5}, false, "", "1.5"},
		"EXPERIMENT as an instant":        {"EXPERIMENT", Field{Kind: Instant, Int: 1757034869602000}, false, "", "2025-09-05 01:14:29.602"},
		"SDK_TYPE with a NUL":             {"SDK_TYPE", broken, false, "sdk_type_nul_byte", ""},
		"DOMAIN with a NUL":               {"DOMAIN", broken, false, "domain_nul_byte", ""},
		"DEPLOYMENT_ID null":              {"DEPLOYMENT_ID", null, false, "", ""},
		"COUNTRY without quotes":          {"COUNTRY", text("ES"), false, "", "ES"},
		"COUNTRY of quotes only":          {"COUNTRY", text(`""`), false, "", ""},
		"COUNTRY in two pairs":            {"COUNTRY", text(`""ES""`), false, "", `"ES"`},
		"REGION of one quote":             {"REGION", text(`"`), false, "", `"`},
		"BROWSER_FAMILY keeps its quotes": {"BROWSER_FAMILY", text(`"Chrome"`), false, "", `"Chrome"`},
		"DEVICE_TYPE null":                {"DEVICE_TYPE", null, false, "", ""},
		"USER_ID keeps its blanks":        {"USER_ID", text(" u "), false, "", " u "},
	} {
		t.Run(name, func(t *testing.T) {
			header, fields := eventRow(map[string]Field{c.column: c.field})
			values, findings, ok := judged(t, Evolve, header, fields)
			if ok == c.reject {
				t.Errorf("loaded is %v, findings %v", ok, findings)
			}
			want := ""
			if c.finding != "" {
				want = "warning " + c.finding
			}
			if c.reject {
				want = "reject " + c.finding
			}
			if got := strings.Join(findings, ", "); got != want {
				t.Errorf("findings are %q, want %q", got, want)
			}
			if ok && values[Event.Columns[Event.index(c.column)].SQL] != c.value {
				t.Errorf("value is %q, want %q", values[Event.Columns[Event.index(c.column)].SQL], c.value)
			}
		})
	}
}

func TestAllErrorsOfARow(t *testing.T) {
	header, fields := eventRow(map[string]Field{"EVENT_ID": text("x"), "COUNT": text("y"), "RATE": text("z")})
	_, findings, ok := judged(t, Evolve, header, fields)
	want := "reject event_id_malformed, warning rate_malformed, reject count_malformed"
	if got := strings.Join(findings, ", "); ok || got != want {
		t.Errorf("findings are %q, want %q", got, want)
	}
}

func TestMissingColumns(t *testing.T) {
	for _, column := range Event.Columns {
		if column.derived {
			continue
		}
		t.Run(column.Name, func(t *testing.T) {
			header, _ := eventRow(nil)
			var without []string
			for _, name := range header {
				if name != column.Name {
					without = append(without, name)
				}
			}
			_, err := NewJudge(Event, without, Evolve)
			if column.Required != (err != nil) {
				t.Fatalf("error is %v", err)
			}
			if err != nil && !strings.Contains(err.Error(), "the required column "+column.Name+" is missing") {
				t.Errorf("the error does not name the column: %v", err)
			}
		})
	}
}

func TestDriftPolicies(t *testing.T) {
	header, fields := eventRow(map[string]Field{"SCORE": {Kind: Integer, Int: 3}})
	header = append(header, `odd "name"`, "empty")
	fields = append(fields, text("line\nbreak \\ ünï"), Field{})

	values, _, ok := judged(t, Evolve, header, fields)
	if want := `{"SCORE":3,"odd \"name\"":"line\u000abreak \\ ünï"}`; !ok || values["extra"] != want {
		t.Errorf("evolve keeps %s, want %s", values["extra"], want)
	}
	values, _, ok = judged(t, Discard, header, fields)
	if _, kept := values["extra"]; !ok || kept {
		t.Errorf("discard keeps %s", values["extra"])
	}
	_, err := NewJudge(Event, header, Freeze)
	if err == nil || !strings.Contains(err.Error(), "SCORE") || !strings.Contains(err.Error(), "freeze") {
		t.Errorf("freeze gives %v", err)
	}
	if _, err := ParseDrift("Evolve"); err == nil || !strings.Contains(err.Error(), "evolve, freeze or discard") {
		t.Errorf("an unknown policy gives %v", err)
	}
}

func TestExtraThatPostgresCannotStore(t *testing.T) {
	header, fields := eventRow(map[string]Field{"SCORE": text("a\x00")})
	values, findings, ok := judged(t, Evolve, header, fields)
	if got := strings.Join(findings, ", "); !ok || got != "warning extra_nul_byte" || values["extra"] != "" {
		t.Errorf("findings are %q, extra is %q", got, values["extra"])
	}
}

func TestHeader(t *testing.T) {
	event, _ := eventRow(nil)
	for name, c := range map[string]struct {
		header []string
		want   *Contract
		err    string
	}{
		"events":                  {event, Event, ""},
		"events in small letters": {strings.Split(strings.ToLower(strings.Join(event, ",")), ","), Event, ""},
		"companies":               {[]string{"PUBLIC_API_KEY", "INDUSTRY_BACK", "INDUSTRY_FRONT", "HQ_COUNTRY"}, Company, ""},
		"companies in any order":  {[]string{"hq_country", "public_api_key", "more"}, Company, ""},
		"neither":                 {[]string{"a", "b"}, nil, "neither those of events"},
		"as many of each":         {[]string{"EVENT_ID", "HQ_COUNTRY"}, nil, "neither those of events"},
		"the first row":           {[]string{"91e36d4b-21b5-43a5-90c8-229b61ed22f2", "pageview"}, nil, "has no header, its first row is data (91e36d4b"},
		"the first row, by time":  {[]string{"pageview", "2025-09-05 01:14:29"}, nil, "has no header, its first row is data (pageview, 2025"},
		"nothing":                 {nil, nil, "(none)"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Identify(c.header)
			if got != c.want {
				t.Errorf("identified as %v", got)
			}
			if (err == nil) != (c.err == "") || (err != nil && !strings.Contains(err.Error(), c.err)) {
				t.Errorf("error is %v, want one with %q", err, c.err)
			}
		})
	}
	for name, c := range map[string]struct{ column, err string }{
		"no name": {"", "column 19 of 19 has no name"}, "a long name": {strings.Repeat("x", 2000), "longer than 1024 bytes"}, "a NUL": {"a\x00", "NUL byte"}, "Latin-1": {"caf\xe9", "not valid UTF-8"},
	} {
		if _, err := NewJudge(Event, append(event, c.column), Evolve); err == nil || !strings.Contains(err.Error(), c.err) {
			t.Errorf("a column with %s gives %v", name, err)
		}
	}
	wide := slices.Clone(event)
	for len(wide) <= 10_000 {
		wide = append(wide, fmt.Sprint("c", len(wide)))
	}
	if _, err := NewJudge(Event, wide[:10_000], Evolve); err != nil {
		t.Errorf("10,000 columns give %v", err)
	}
	if _, err := NewJudge(Event, wide, Evolve); err == nil || !strings.Contains(err.Error(), "has 10001 columns, more than the 10000") {
		t.Errorf("too many columns give %v", err)
	}
	// EqualFold takes the dotless i for no i; a name that only looks like the required one is another column.
	if _, err := NewJudge(Event, append([]string{"event_ıd"}, event[1:]...), Evolve); err == nil || !strings.Contains(err.Error(), "EVENT_ID is missing") {
		t.Errorf("a name that only looks like a required one gives %v", err)
	}
	if _, err := NewJudge(Event, append(event, "rate"), Evolve); err == nil || !strings.Contains(err.Error(), "rate stands twice") {
		t.Errorf("a column that stands twice gives %v", err)
	}
}

func TestParameters(t *testing.T) {
	const object = `{"action": "click", "created": "2025-09-05T05:40:41.173Z"}`
	const twice = `"{\"action\": \"click\", \"created\": \"2025-09-05T05:40:41.173Z\"}"`
	for name, c := range map[string]struct{ json, action, created, updated, findings, stored string }{
		"all three": {`{"created": "2025-09-05T05:40:41.173Z", "action": "click", "updated": "2025-09-05T05:40:44.6Z"}`,
			"click", "2025-09-05T05:40:41.173", "2025-09-05T05:40:44.6", "", ""},
		"deeper ones do not count":   {`{"a": {"action": "x"}, "b": [{"created": "2025-09-05T05:40:41Z"}]}`, "", "", "", "", ""},
		"of another type":            {`{"action": {"a": 1}, "created": 5, "updated": null}`, "", "", "", "action_malformed token_created_malformed", ""},
		"of no characters":           {`{"action": "", "created": "", "updated": ""}`, "", "", "", "", ""},
		"not a timestamp":            {`{"action": "click", "created": "soon", "updated": "1970-01-01T00:00:00Z"}`, "click", "", "", "token_created_malformed token_updated_out_of_range", ""},
		"the last one counts":        {`{"action": "a", "action": "b"}`, "b", "", "", "", ""},
		"the last one is none":       {`{"action": "a", "action": null}`, "", "", "", "", ""},
		"with escapes":               {`{"action": "a\"\u00e9"}`, `a"é`, "", "", "", ""},
		"a zone":                     {`{"created": "2025-09-05T05:40:41+02:00"}`, "", "2025-09-05T03:40:41", "", "", ""},
		"blanks around":              {" " + object + "\n", "click", "2025-09-05T05:40:41.173", "", "", ""},
		"an object in a string":      {twice, "click", "2025-09-05T05:40:41.173", "", "parameters_unwrapped", object},
		"with blanks there":          {`" {\"action\": \"click\"}\n"`, "click", "", "", "parameters_unwrapped", `{"action": "click"}`},
		"an empty object there":      {`"{}"`, "", "", "", "parameters_unwrapped", "{}"},
		"with escapes there":         {`"{\"action\": \"\\u00e9\\\\\"}"`, `é\`, "", "", "parameters_unwrapped", `{"action": "\u00e9\\"}`},
		"a list of one object":       {` [ ` + object + ` ] `, "click", "2025-09-05T05:40:41.173", "", "parameters_unwrapped", object},
		"of one with a list":         {`[{"action": "x", "a": [1, {"action": "y"}]}]`, "x", "", "", "parameters_unwrapped", `{"action": "x", "a": [1, {"action": "y"}]}`},
		"a list of two objects":      {`[{"action": "x"}, {"action": "y"}]`, "", "", "", "parameters_not_object", ""},
		"a list of pairs":            {`[["action", "click"]]`, "", "", "", "parameters_not_object", ""},
		"an empty list":              {`[]`, "", "", "", "parameters_not_object", ""},
		"a list in a list":           {`[[` + object + `]]`, "", "", "", "parameters_not_object", ""},
		"a string in a list":         {`[` + twice + `]`, "", "", "", "parameters_not_object", ""},
		"a list in a string":         {`"[{\"action\": \"click\"}]"`, "", "", "", "parameters_not_object", ""},
		"a Python dict in a string":  {`"{'action': 'click'}"`, "", "", "", "parameters_not_object", ""},
		"a broken object in one":     {`"{\"action\": \"click\","`, "", "", "", "parameters_not_object", ""},
		"what jsonb refuses in one":  {`"{\"action\": \"click\", \"a\": \"\\u0000\"}"`, "", "", "", "parameters_not_object", ""},
		"an empty string":            {`""`, "", "", "", "parameters_not_object", ""},
		"a number":                   {`17`, "", "", "", "parameters_not_object", ""},
		"false":                      {`false`, "", "", "", "parameters_not_object", ""},
		"a null of JSON":             {` null `, "", "", "", "", "∅"},
		"a Python dict":              {`{'action': 'click'}`, "", "", "", "parameters_malformed", "∅"},
		"not in quotes, but escaped": {`{\"action\": \"click\"}`, "", "", "", "parameters_malformed", "∅"},
	} {
		t.Run(name, func(t *testing.T) {
			header, fields := eventRow(map[string]Field{"PARAMETERS": text(c.json)})
			values, findings, ok := judged(t, Evolve, header, fields)
			if got := strings.ReplaceAll(strings.Join(findings, " "), "warning ", ""); !ok || got != c.findings {
				t.Errorf("findings are %q, want %q", got, c.findings)
			}
			got := [3]string{values["action"], values["token_created"], values["token_updated"]}
			if want := [3]string{c.action, c.created, c.updated}; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			stored := values["parameters"]
			if want := strings.TrimPrefix(cmp.Or(c.stored, c.json), "∅"); stored != want {
				t.Errorf("stored is %s, want %s", stored, want)
			}
		})
	}
}

// TestChoiceSets compares the keys of two consents, which differ if a choice differs, and in nothing else.
func TestChoiceSets(t *testing.T) {
	const purposes = `"purposes": {"enabled": ["a", "b"], "disabled": ["c"]}`
	key := func(t *testing.T, kind, json string) string {
		t.Helper()
		header, fields := eventRow(map[string]Field{"TYPE": text(kind), "PARAMETERS": text(json)})
		values, _, ok := judged(t, Evolve, header, fields)
		if !ok {
			t.Fatalf("%s is rejected", json)
		}
		return values["choice_set"]
	}
	reference := key(t, "consent.given", `{"action": "click", "created": "2025-09-05T05:40:41.173Z", `+purposes+`}`)
	for name, c := range map[string]struct {
		json string
		same bool
	}{
		"another action, time and order":          {`{` + purposes + `, "action": "webview", "created": "2026-01-01T00:00:00Z", "n": [1]}`, true},
		"blanks around a value":                   {"{" + strings.Replace(purposes, ": ", " :\n", 1) + "\t}", true},
		"an escape in the key":                    {`{` + strings.Replace(purposes, "purposes", `purp\u006fses`, 1) + `}`, true},
		"the last one counts":                     {`{"purposes": {"enabled": ["x"]}, ` + purposes + `}`, true},
		"encoded twice":                           {strconv.Quote("{" + purposes + "}"), true},
		"in a list of one":                        {`[{` + purposes + `}]`, true},
		"another choice":                          {`{` + strings.Replace(purposes, `"b"`, `"d"`, 1) + `}`, false},
		"an empty object besides":                 {`{` + purposes + `, "vendors": {}}`, false},
		"the same choices of legitimate interest": {`{` + strings.Replace(purposes, "purposes", "purposes_li", 1) + `}`, false},
		"the same choices of vendors":             {`{` + strings.Replace(purposes, "purposes", "vendors", 1) + `}`, false},
		"the last one is another":                 {`{` + purposes + `, "purposes": 3}`, false},
	} {
		if got := key(t, "consent.given", c.json); got == "" || got == reference != c.same {
			t.Errorf("%s: %s has the key %s, the reference %s; the same is %t, want %t", name, c.json, got, reference, got == reference, c.same)
		}
	}
	for name, c := range map[string]struct{ kind, json string }{
		"a prompt":            {"consent.asked", `{` + purposes + `}`},
		"no choices":          {"consent.given", `{"action": "click", "previous_purposes": {"enabled": ["a"]}}`},
		"choices deeper":      {"consent.given", `{"a": {` + purposes + `}}`},
		"a list of two":       {"consent.given", `[{` + purposes + `}, {}]`},
		"not JSON":            {"consent.given", `{` + purposes},
		"no PARAMETERS":       {"consent.given", ""},
		"a null of JSON":      {"consent.given", "null"},
		"a broken one inside": {"consent.given", strconv.Quote("{" + purposes)},
	} {
		if got := key(t, c.kind, c.json); got != "" {
			t.Errorf("%s has the key %s, want none", name, got)
		}
	}
}

func TestMessagesOfParameters(t *testing.T) {
	for in, want := range map[string]string{
		`{'action': 'click'}`:     `is not JSON that Postgres can store: "'" at byte 1 where a key in quotes was expected (it is the text of a Python dict: write it with json.dumps)`,
		`"{'action': 'click'}"`:   "is a JSON string that holds no object (it is the text of a Python dict: write it with json.dumps); an object was expected",
		`{\"action\": \"click\"}`: `is not JSON that Postgres can store: "\\" at byte 1 where a key in quotes was expected (its quotes have backslashes: write the object without them)`,
		`[1, 2]`:                  "is a list that is not of one object; an object was expected, so action and the times of the token stay null",
		`"{}"`:                    "is a JSON string that holds an object, as if it was encoded twice: the object is loaded",
		`{"created": "soon"}`:     "created in PARAMETERS is soon: not a timestamp of the form",
		`{"action": 1}`:           "action in PARAMETERS is not a string",
	} {
		header, fields := eventRow(map[string]Field{"PARAMETERS": text(in)})
		judge, err := NewJudge(Event, header, Evolve)
		if err != nil {
			t.Fatal(err)
		}
		judge.Row(fields)
		f := judge.Findings()
		if len(f) != 1 || f[0].Column != "PARAMETERS" || !strings.HasPrefix(f[0].Message, want) || string(f[0].Value) != in {
			t.Errorf("%s gives %+v, want %q", in, f, want)
		}
	}
}

func TestMessagesNameExpectedValue(t *testing.T) {
	header, fields := eventRow(map[string]Field{"EVENT_TIME": text("2025-13-05 01:00:00")})
	judge, err := NewJudge(Event, header, Evolve)
	if err != nil {
		t.Fatal(err)
	}
	judge.Row(fields)
	f := judge.Findings()[0]
	if f.Column != "EVENT_TIME" || f.Message != "month out of range" || string(f.Value) != "2025-13-05 01:00:00" {
		t.Errorf("the finding is %+v", f)
	}
}

func TestAppendCSV(t *testing.T) {
	got := string(AppendCSV(nil, []Field{text(`say "a", b`), {}, {Kind: Integer, Int: -5}, {Kind: Number, Float: 0.1},
		{Kind: Instant, Int: 1757034869602000}, text("two\nlines"), text("plain"), {Kind: Date, Int: 1757030400000000},
		{Kind: JSON, Text: []byte(`{"a":1}`)}, {Kind: Bytes, Text: []byte("b")}, {Kind: Bytes, Text: []byte("\x01\xff")},
		{Kind: Bytes, Text: []byte(strings.Repeat("\x01\xff", 8))}}))
	if want := "\"say \"\"a\"\", b\",,-5,0.1,2025-09-05 01:14:29.602,\"two\nlines\",plain,2025-09-05,\"{\"\"a\"\":1}\",b,\\x01ff," +
		"01ff01ff-01ff-01ff-01ff-01ff01ff01ff"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestExcerpt(t *testing.T) {
	if got := Excerpt(bytes.Repeat([]byte{0x80}, 100), 10); len(got) < 24 {
		t.Errorf("ten bytes that begin no character give %q", got)
	}
	for in, want := range map[string]string{
		"a \"text\"": `a "text"`, "a\nb\x00\xff": `a\nb\x00\xff`, "äöü€": "äöü€", "\\n": `\\n`, "123456789ä": "123456789…",
	} {
		if got := Excerpt([]byte(in), 10); got != want {
			t.Errorf("Excerpt(%q) is %q, want %q", in, got, want)
		}
	}
}

// TestRepeatedValues checks that a row is judged as if it were the first, whatever came before.
func TestRepeatedValues(t *testing.T) {
	variants := []map[string]Field{
		nil,
		{"COUNTRY": text(`"FR"`), "REGION": text("CM"), "TYPE": text("pagewatch")},
		{"COUNTRY": text("ES"), "RATE": text("often"), "APIKEY": text(strings.ToUpper(aKey))},
		{"COUNTRY": {}, "WINDOW_START": text("2025-09-05 00:00:00"), "COUNT": text("ten")},
		{"CONSENT": text(""), "DOMAIN": text("a\x00"), "DEVICE_TYPE": text("télé")},
	}
	header, _ := eventRow(nil)
	judge, err := NewJudge(Event, header, Evolve)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		_, fields := eventRow(variants[(i*i+i/3)%len(variants)])
		fresh, err := NewJudge(Event, header, Evolve)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := judge.Row(fields)
		want, wantOK := fresh.Row(fields)
		if fmt.Sprint(got, ok, judge.Findings()) != fmt.Sprint(want, wantOK, fresh.Findings()) {
			t.Fatalf("row %d is judged as %v %v, alone as %v %v", i, got, ok, want, wantOK)
		}
	}
}

// TestFieldKinds checks what a column makes of the kinds that only a Parquet file has.
func TestFieldKinds(t *testing.T) {
	bytesOf := func(s string) Field { return Field{Kind: Bytes, Text: []byte(s)} }
	id := "\x91\xe3\x6d\x4b\x21\xb5\x43\xa5\x90\xc8\x22\x9b\x61\xed\x22\xf2"
	nan := Field{Kind: Number, Float: math.NaN()}
	for name, c := range map[string]struct {
		column  string
		field   Field
		finding string
		value   string
	}{
		"16 bytes are a UUID":                  {"EVENT_ID", bytesOf(id), "", strings.ReplaceAll(anID, "-", "")},
		"16 bytes of zero are a UUID":          {"APIKEY", bytesOf(strings.Repeat("\x00", 16)), "", strings.Repeat("0", 32)},
		"16 characters as bytes are no UUID":   {"EVENT_ID", bytesOf("abcdefghijklmnop"), "reject event_id_malformed", ""},
		"16 characters of text are no UUID":    {"EVENT_ID", text(id), "reject event_id_malformed", ""},
		"15 bytes are no UUID":                 {"APIKEY", bytesOf(id[1:]), "reject api_key_malformed", ""},
		"bytes may be the text of a UUID":      {"EVENT_ID", bytesOf(anID), "", strings.ReplaceAll(anID, "-", "")},
		"zeros fill up a text of fixed width":  {"COUNTRY", bytesOf("\"ES\"\x00\x00"), "", "ES"},
		"zeros alone are a null":               {"DOMAIN", bytesOf("\x00\x00"), "", ""},
		"zeros in the middle are none":         {"DOMAIN", bytesOf("a\x00b\x00"), "warning domain_nul_byte", ""},
		"zeros at the end of text stay wrong":  {"DOMAIN", text("a\x00"), "warning domain_nul_byte", ""},
		"bytes as a number":                    {"RATE", bytesOf("0.5"), "", "0.5"},
		"bytes as a count":                     {"COUNT", bytesOf("12"), "", "12"},
		"bytes as a time":                      {"EVENT_TIME", bytesOf(aTime), "", "2025-09-05T01:14:29.602"},
		"a decimal as a count":                 {"COUNT", Field{Kind: JSON, Text: []byte("10.00")}, "", "10"},
		"a decimal as a number":                {"RATE", Field{Kind: JSON, Text: []byte("0.25")}, "", "0.25"},
		"a boolean as text":                    {"EXPERIMENT", Field{Kind: JSON, Text: []byte("true")}, "", "true"},
		"a structure as JSON":                  {"PARAMETERS", Field{Kind: JSON, Text: []byte(`{"a":1}`)}, "", `{"a":1}`},
		"a date as a time":                     {"WINDOW_START", Field{Kind: Date, Int: 1757030400000000}, "warning window_start_not_event_hour", "2025-09-05T00:00:00"},
		"a date as text":                       {"EXPERIMENT", Field{Kind: Date, Int: 1757030400000000}, "", "2025-09-05"},
		"NaN is a null count":                  {"COUNT", nan, "", ""},
		"NaN is a null text":                   {"EXPERIMENT", nan, "", ""},
		"NaN is a null time":                   {"EVENT_TIME", nan, "reject event_time_null", ""},
		"NaN is no rate":                       {"RATE", nan, "warning rate_malformed", ""},
		"an infinite text has Postgres's name": {"EXPERIMENT", Field{Kind: Number, Float: math.Inf(-1)}, "", "-Infinity"},
	} {
		t.Run(name, func(t *testing.T) {
			header, fields := eventRow(map[string]Field{c.column: c.field})
			values, findings, _ := judged(t, Evolve, header, fields)
			if got := strings.Join(findings, ", "); got != c.finding {
				t.Errorf("findings are %q, want %q", got, c.finding)
			}
			if got := values[Event.Columns[Event.index(c.column)].SQL]; !strings.HasPrefix(c.finding, "reject") && got != c.value {
				t.Errorf("value is %q, want %q", got, c.value)
			}
		})
	}
}

// TestWrongTimestampUnits checks that a time whose unit is wrong is refused with the time that was meant.
func TestWrongTimestampUnits(t *testing.T) {
	const meant = 1757034869602000
	for name, c := range map[string]struct {
		micros int64
		want   string
	}{
		"microseconds as nanoseconds":  {meant / 1000, "; times 1,000 it is 2025-09-05 01:14:29.602:"},
		"seconds as milliseconds":      {meant / 1000, "; times 1,000 it is 2025-09-05 01:14:29.602:"},
		"milliseconds as nanoseconds":  {meant / 1_000_000, "; times 1,000,000 it is 2025-09-05 01:14:29:"},
		"microseconds as milliseconds": {meant * 1000, "; divided by 1,000 it is 2025-09-05 01:14:29.602:"},
		"a time of 1999":               {946684799999999, ""},
		"the first time":               {math.MinInt64, ""},
		"the last time":                {math.MaxInt64, ""},
	} {
		header, fields := eventRow(map[string]Field{"EVENT_TIME": {Kind: Instant, Int: c.micros}})
		judge, err := NewJudge(Event, header, Evolve)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := judge.Row(fields); ok || len(judge.Findings()) != 1 {
			t.Fatalf("%s: loaded %v, findings %v", name, ok, judge.Findings())
		}
		if got := judge.Findings()[0].Message; !strings.HasPrefix(got, "is not between 2000 and 2100"+c.want) ||
			strings.HasSuffix(got, "2100") != (c.want == "") {
			t.Errorf("%s: the message is %q, want %q", name, got, c.want)
		}
	}
}

// TestExtraKeepsTypes checks what the column extra has of each kind of field.
func TestExtraKeepsTypes(t *testing.T) {
	for name, c := range map[string]struct {
		field   Field
		want    string // "" if the field is left out
		finding string
	}{
		"text":                    {text(`true "x"`), `"true \"x\""`, ""},
		"text that is JSON":       {text(`{"a":1}`), `"{\"a\":1}"`, ""},
		"a structure":             {Field{Kind: JSON, Text: []byte(`{"a":[1,null]}`)}, `{"a":[1,null]}`, ""},
		"a boolean":               {Field{Kind: JSON, Text: []byte("false")}, "false", ""},
		"a decimal":               {Field{Kind: JSON, Text: []byte("12.50")}, "12.50", ""},
		"JSON that is broken":     {Field{Kind: JSON, Text: []byte(`{"a":`)}, `"{\"a\":"`, "warning extra_malformed"},
		"JSON that jsonb refuses": {Field{Kind: JSON, Text: []byte(`["\u0000"]`)}, `"[\"\\u0000\"]"`, "warning extra_malformed"},
		"JSON that is not UTF-8":  {Field{Kind: JSON, Text: []byte("\"\xff\"")}, "", "warning extra_invalid_utf8"},
		"an integer":              {Field{Kind: Integer, Int: -3}, "-3", ""},
		"a number":                {Field{Kind: Number, Float: 1e300}, "1e+300", ""},
		"NaN":                     {Field{Kind: Number, Float: math.NaN()}, "", ""},
		"infinity":                {Field{Kind: Number, Float: math.Inf(1)}, `"Infinity"`, ""},
		"an instant":              {Field{Kind: Instant, Int: 1757034869602000}, `"2025-09-05T01:14:29.602Z"`, ""},
		"a date":                  {Field{Kind: Date, Int: 1757030400000000}, `"2025-09-05"`, ""},
		"bytes of text":           {Field{Kind: Bytes, Text: []byte("ünï")}, `"ünï"`, ""},
		"bytes":                   {Field{Kind: Bytes, Text: []byte("\x00\xff")}, `"\\x00ff"`, ""},
		"16 bytes":                {Field{Kind: Bytes, Text: []byte(strings.Repeat("\x01\xff", 8))}, `"01ff01ff-01ff-01ff-01ff-01ff01ff01ff"`, ""},
		"a null":                  {Field{}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			header, fields := eventRow(map[string]Field{"SCORE": c.field})
			values, findings, ok := judged(t, Evolve, header, fields)
			want := ""
			if c.want != "" {
				want = `{"SCORE":` + c.want + `}`
			}
			if got := strings.Join(findings, ", "); !ok || got != c.finding || values["extra"] != want {
				t.Errorf("extra is %s with findings %q, want %s with %q", values["extra"], got, want, c.finding)
			}
			if values["action"] != "click" {
				t.Errorf("the action of PARAMETERS is %q", values["action"])
			}
		})
	}
}
