package main

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"consentpipeline.io/internal/warehouse"
	"consentpipeline.io/test/warehousetest"
)

// TestMigrationWatch rotates passwords and changes the database while the program runs. Each step waits until the database
// is up to date, and checks that /readyz agrees.
func TestMigrationWatch(t *testing.T) {
	database := warehousetest.Database(t)
	parsed, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	rotate := func(role, password string) { write(t, filepath.Join(folder, role), password+"\n") }
	roles := warehouse.Roles{
		Prefix:            strings.TrimPrefix(parsed.Path, "/consent_test_") + "_",
		IngestPassword:    filepath.Join(folder, "ingest"),
		TransformPassword: filepath.Join(folder, "transform"),
		DashboardPassword: filepath.Join(folder, "dashboard"),
	}
	admin, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	execute := func(statement string) {
		t.Helper()
		if _, err := admin.Exec(context.Background(), statement); err != nil {
			t.Fatal(err)
		}
	}
	quoted := func(role string) string { return pgx.Identifier{roles.Prefix + role}.Sanitize() }
	t.Cleanup(func() {
		for _, role := range []string{"ingest", "transform", "dashboard"} {
			execute("drop owned by " + quoted(role) + " cascade; drop role " + quoted(role))
		}
		_ = admin.Close(context.Background())
	})

	log := slog.New(slog.DiscardHandler)
	w := newMigrationWatch(warehouse.Config{URL: database, Log: log}, &roles, log)
	w.poll, w.check, w.retry = 10*time.Millisecond, 50*time.Millisecond, 50*time.Millisecond
	server := httptest.NewServer(w.handler())
	defer server.Close()
	readyz := func() int {
		t.Helper()
		response, err := http.Get(server.URL + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response.StatusCode
	}
	await := func(what string, holds func() bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s did not come within a minute; /readyz: %d", what, readyz())
			}
		}
	}
	login := func(role, password string) error {
		one := *parsed
		one.User = url.UserPassword(roles.Prefix+role, password)
		conn, err := pgx.Connect(t.Context(), one.String())
		if err == nil {
			err = conn.Close(t.Context())
		}
		return err
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { w.run(ctx); close(ended) }()
	defer func() { stop(); <-ended }()

	await("not ready without password files", func() bool {
		problem := w.problem.Load()
		return problem != nil && strings.Contains(*problem, "no such file") && readyz() == http.StatusServiceUnavailable
	})
	rotate("ingest", "A")
	rotate("transform", "T")
	rotate("dashboard", "D")
	await("ready", func() bool { return readyz() == http.StatusOK })
	for role, password := range map[string]string{"ingest": "A", "transform": "T", "dashboard": "D"} {
		if err := login(role, password); err != nil {
			t.Error(err)
		}
	}
	// Returning to an earlier password is a change, too.
	for _, password := range []string{"B", "A"} {
		rotate("ingest", password)
		await("a login with "+password, func() bool { return login("ingest", password) == nil })
	}
	if login("ingest", "B") == nil {
		t.Error("the old password still works")
	}
	execute("alter role " + quoted("transform") + " password 'changed by hand'")
	await("the password of the file", func() bool { return login("transform", "T") == nil })
	execute("drop schema raw, analytics cascade")
	await("the schema", func() bool {
		return warehouse.CheckCurrent(t.Context(), warehouse.Config{URL: database}, &roles) == nil
	})

	rotate("dashboard", "")
	await("not ready with an empty password file", func() bool {
		problem := w.problem.Load()
		return strings.Contains(*problem, "is empty") && readyz() == http.StatusServiceUnavailable
	})
	rotate("dashboard", "D2")
	await("ready again", func() bool { return readyz() == http.StatusOK })
	if err := login("dashboard", "D2"); err != nil {
		t.Error(err)
	}
}
