package warehouse_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"consentpipeline.io/internal/warehouse"
	"consentpipeline.io/internal/warehouse/embedded"
)

// TestAvailableConnections checks each limit on a server with few connections, and that as many as reported can be opened.
func TestAvailableConnections(t *testing.T) {
	major := os.Getenv("CONSENT_TEST_POSTGRES")
	settings := map[string]string{"fsync": "off", "max_connections": "30", "superuser_reserved_connections": "3"}
	reserved := 0
	if major != "15" {
		settings["reserved_connections"], reserved = "2", 2
	}
	server, err := embedded.Start(t.Context(), embedded.Options{Major: major, Settings: settings})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	if _, err := warehouse.Migrate(t.Context(), config(server.URL())); err != nil {
		t.Fatal(err)
	}
	admin := connect(t, server.URL())
	do := func(sql string) {
		t.Helper()
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	do("create role loader login password 'secret'; grant usage on schema raw to loader; grant select on raw.schema_version to loader")
	database := pgx.Identifier{admin.Config().Database}.Sanitize()
	url := as(t, server.URL(), "loader", "secret")

	const others = 10
	for _, test := range []struct {
		limits string
		login  string
		want   int
	}{
		{"", url, 30 - 3 - reserved - others},
		{"alter role loader connection limit 8", url, 8},
		{"alter role loader connection limit 29", url, 30 - 3 - reserved - others},
		{"alter database " + database + " connection limit 17", url, 17 - others},
		{"alter role loader connection limit 4", url, 4},
		{"alter database " + database + " connection limit 6", url, 6 - others},
		{"alter role " + pgx.Identifier{admin.Config().User}.Sanitize() + " connection limit 2", server.URL(), 30 - 3 - reserved - others},
	} {
		if test.limits != "" {
			do(test.limits)
		}
		db, err := warehouse.Open(t.Context(), config(test.login), 1)
		if err != nil {
			t.Fatal(err)
		}
		got, err := db.AvailableConnections(t.Context(), others)
		db.Close()
		if err != nil || got != test.want {
			t.Errorf("after %q: %d connections, %v; expected %d", test.limits, got, err, test.want)
		}
	}

	// The server accepts as many as reported beside those of others, and no more.
	do("alter role loader connection limit -1; alter database " + database + " connection limit -1")
	want := 30 - 3 - reserved
	for opened := 1; ; opened++ { // beside the administrator's
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			if opened != want || !strings.Contains(err.Error(), "53300") {
				t.Errorf("connection %d is refused, expected %d to be the first: %v", opened, want, err)
			}
			break
		}
		t.Cleanup(func() { conn.Close(context.Background()) })
		if opened > 30 {
			t.Fatalf("%d connections are open", opened)
		}
	}
}
