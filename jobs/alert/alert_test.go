package alert

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"consentpipeline.io/internal/report"
	"consentpipeline.io/internal/warehouse"
	"consentpipeline.io/jobs/transform"
	"consentpipeline.io/test/testneeds"
	"consentpipeline.io/test/warehousetest"
)

func TestMain(m *testing.M) { warehousetest.Main(m) }

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// A receiver records what it accepts, after some answers that its list has.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	answers  []int // of the next requests; then 204
	requests int
	accepted []Event
	headers  []http.Header
	bodies   [][]byte
}

func newReceiver(t *testing.T, answers ...int) *receiver {
	t.Helper()
	r := &receiver{answers: answers}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.requests++
		r.headers, r.bodies = append(r.headers, request.Header.Clone()), append(r.bodies, body)
		if len(r.answers) > 0 {
			status := r.answers[0]
			r.answers = r.answers[1:]
			http.Error(w, "not now", status)
			return
		}
		var event Event
		if err := json.Unmarshal(body, &event); err != nil {
			t.Errorf("%v: %s", err, body)
		}
		r.accepted = append(r.accepted, event)
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) webhook(t *testing.T) Webhook {
	t.Helper()
	w, err := NewWebhook(r.URL+"/hook?token=s3cret", secret)
	if err != nil {
		t.Fatal(err)
	}
	w.Attempts, w.Wait = 3, time.Millisecond
	return w
}

// TestSignature compares with the example of the Standard Webhooks specification.
func TestSignature(t *testing.T) {
	w, err := NewWebhook("https://example.com/hook", secret)
	if err != nil {
		t.Fatal(err)
	}
	got := w.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestBadWebhooksAndThresholds(t *testing.T) {
	for _, test := range [][2]string{{"example.com/hook", secret}, {"ftp://example.com", secret}, {"https://example.com", "whsec_c2hvcnQ="},
		{"https://example.com", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, {"https://example.com", "whsec_%%%"}} {
		if _, err := NewWebhook(test[0], test[1]); err == nil || strings.Contains(err.Error(), "MfKQ") {
			t.Errorf("%v: %v", test, err)
		}
	}
	for _, text := range []string{"consent_rate", "consent_rate=", "consent_rate=50", "consent_rate=0", "consent_rate=NaN", "opt_out_rate=0.5", "x=0.5"} {
		if got, err := ParseThreshold(text); err == nil {
			t.Errorf("%s: %+v", text, got)
		}
	}
	if got, err := ParseThreshold("consent_rate=0.5"); err != nil || got != (Threshold{"consent_rate", 0.5}) {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestPost posts to receivers that fail.
func TestPost(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for name, test := range map[string]struct {
		answers  []int
		requests int
		code     int
	}{
		"accepted at once":             {nil, 1, 0},
		"fails twice":                  {[]int{500, 429}, 3, 0},
		"fails at each attempt":        {[]int{503, 502, 500}, 3, report.TryAgain},
		"refuses the signature":        {[]int{401}, 1, report.BadConfig},
		"answers with another address": {[]int{302}, 1, report.BadConfig},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t, test.answers...)
			err := r.webhook(t).post(t.Context(), "id", []byte(`{}`), log)
			if r.requests != test.requests || (err == nil) != (test.code == 0) || err != nil && report.ExitCode(err) != test.code {
				t.Errorf("%d requests, %v; want %d and exit code %d", r.requests, err, test.requests, test.code)
			}
			if err != nil && strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the error has the address: %v", err)
			}
		})
	}
	gone := newReceiver(t)
	w := gone.webhook(t)
	gone.Close()
	if err := w.post(t.Context(), "id", []byte(`{}`), log); report.ExitCode(err) != report.TryAgain || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("a receiver that is away: %v", err)
	}
}

// twoWeeks is the metrics of two weeks in which the consent rate of one company drops, and that of another is low.
func twoWeeks(t *testing.T) warehouse.Config {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	config := warehouse.Config{URL: warehousetest.Database(t), Name: "alert", Log: log}
	if _, err := warehouse.Migrate(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	execute(t, config, `
		insert into raw.run (run_id, name, source) values ('00000000-0000-0000-0000-000000000001', 'r', 's');
		insert into raw.file (source, path) values ('s', 'events.csv');
		insert into raw.load (file_id, run_id, state, contract, contract_version, options, format, rows, finished)
		select file_id, '00000000-0000-0000-0000-000000000001', 'published', 'event', 1, '', 'csv', 33600, now() from raw.file;
		insert into raw.event (load_id, row_number, event_id, api_key, type, event_time, rate, count, consent, domain)
		select load_id, row_number() over (), gen_random_uuid(), ('00000000-0000-4000-8000-00000000000' || company)::uuid, type,
		       '2026-03-01 00:00:00+00'::timestamptz + make_interval(days => day, secs => n * 144), 1, 1,
		       case when type = 'consent.given' then
		           case when n % 100 < case when company = 2 then 40 when day >= 7 then 64 else 80 end then 'full opt-in' else 'opt-out' end end,
		       case company when 1 then 'drops.example' else 'low.example' end
		from raw.load cross join generate_series(0, 13) as day cross join generate_series(0, 599) as n cross join generate_series(1, 2) as company
		cross join unnest(array['consent.asked', 'consent.given']) as types (type)
		order by day, n`)
	build(t, config)
	return config
}

func build(t *testing.T, config warehouse.Config) {
	t.Helper()
	_, err := transform.Run(t.Context(), transform.Options{Database: config, ProjectDir: filepath.Join(testneeds.Root(t), "dbt_project"),
		Dbt: testneeds.Dbt(t), Log: config.Log, Args: []string{"--exclude-resource-type", "test", "--exclude-resource-type", "unit_test",
			"--select", "+consent_changes", "+overall_consent_changes"}})
	if err != nil {
		t.Fatal(err)
	}
}

func execute(t *testing.T, config warehouse.Config, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), config.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

// TestEachChangeIsPostedOnce posts the changes of real metrics to a receiver that fails twice.
func TestEachChangeIsPostedOnce(t *testing.T) {
	config := twoWeeks(t)
	r := newReceiver(t, 500, 429)
	options := Options{Database: config, Webhook: r.webhook(t), Thresholds: []Threshold{{"consent_rate", 0.5}}, Log: config.Log}

	// Two at once.
	var group sync.WaitGroup
	results, errs := make([]Result, 2), make([]error, 2)
	for i := range results {
		group.Go(func() { results[i], errs[i] = Run(t.Context(), options) })
	}
	group.Wait()
	if errs[0] != nil || errs[1] != nil {
		t.Fatal(errs)
	}
	subjects := map[string]Event{}
	for _, event := range r.accepted {
		key := event.Type + " " + event.Data.Rate + " " + event.Data.Name
		if _, again := subjects[key]; again {
			t.Errorf("%s is posted twice", key)
		}
		subjects[key] = event
	}
	for _, want := range []string{typeChanged + " consent_rate drops.example", typeChanged + " consent_rate all companies together", typeBelow + " consent_rate low.example"} {
		if subjects[want].ID == "" {
			t.Errorf("%s is not posted", want)
		}
	}
	if n := len(results[0].Sent) + len(results[1].Sent); n != len(r.accepted) || r.requests != n+2 {
		t.Errorf("%d are reported as sent and %d accepted, with %d requests; want two failed ones", n, len(r.accepted), r.requests)
	}
	drop := subjects[typeChanged+" consent_rate drops.example"]
	if d := drop.Data; d.Period.Estimate != 0.64 || d.Previous.Estimate != 0.8 || d.Period.LastDay != "2026-03-14" || *d.Upper > -0.14 || *d.Lower < -0.18 ||
		!strings.HasPrefix(d.Summary, "Consent rate of drops.example fell from 80.0% to 64.0%, by 16.0 points (95%: ") {
		t.Errorf("%+v", drop)
	}
	if drop.SpecVersion != "1.0" || drop.Source == "" || drop.Subject != "00000000-0000-4000-8000-000000000001" {
		t.Errorf("%+v", drop)
	}
	for _, event := range subjects {
		if event.Data.Name == "low.example" && event.Type == typeChanged {
			t.Errorf("a rate that has not changed is posted: %s", event.Data.Summary)
		}
	}
	r.checkSignatures(t)

	// Nothing new: a later run, and one whose periods end a day later.
	execute(t, config, `insert into raw.event (load_id, row_number, event_id, api_key, type, event_time, rate, count, consent, domain)
		select load_id, row_number + 1000000, gen_random_uuid(), api_key, type, event_time + interval '1 day', rate, count, consent, domain
		from raw.event where event_time >= '2026-03-14'`)
	build(t, config)
	for range 2 {
		again, err := Run(t.Context(), options)
		if err != nil || again.Found != again.Before || again.Found == 0 || len(again.Sent) != 0 {
			t.Errorf("a later run: %+v, %v", again, err)
		}
	}
}

// TestFailedPostIsRepeated posts again what no receiver has accepted, with the same id.
func TestFailedPostIsRepeated(t *testing.T) {
	config := twoWeeks(t)
	r := newReceiver(t, 500, 500, 500, 403)
	options := Options{Database: config, Webhook: r.webhook(t), Log: config.Log}
	for _, want := range []int{report.TryAgain, report.BadConfig} {
		if result, err := Run(t.Context(), options); report.ExitCode(err) != want || len(result.Sent) != 0 {
			t.Errorf("%+v, %v; want exit code %d", result, err, want)
		}
	}
	if result, err := Run(t.Context(), options); err != nil || len(result.Sent) != result.Found || result.Found == 0 {
		t.Errorf("%+v, %v", result, err)
	}
	first := r.headers[0].Get("Webhook-Id")
	for _, header := range r.headers[:5] {
		if header.Get("Webhook-Id") != first {
			t.Errorf("the same event has the ids %s and %s", first, header.Get("Webhook-Id"))
		}
	}
	r.checkSignatures(t)
}

// checkSignatures verifies each request as a receiver does.
func (r *receiver) checkSignatures(t *testing.T) {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	for i, header := range r.headers {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(header.Get("webhook-id") + "." + header.Get("webhook-timestamp") + "." + string(r.bodies[i])))
		if got, want := header.Get("webhook-signature"), "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)); got != want {
			t.Errorf("signature %q, want %q", got, want)
		}
		if !strings.HasPrefix(header.Get("Content-Type"), "application/cloudevents+json") {
			t.Errorf("Content-Type %q", header.Get("Content-Type"))
		}
	}
}
